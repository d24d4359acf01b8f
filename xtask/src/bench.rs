//! `cargo xtask bench`: us and the peers, measured in one run by one program per language. What they print is the
//! result; it goes to the terminal as it is.

use anyhow::Result;

use crate::{
    authority,
    cli::Options,
    hosts::Host,
    install, maven,
    preflight::{self, Need},
    progress::{self, Outcome, Step},
    swift::{self, Configuration},
    tree::Tree,
};

pub fn run(tree: &Tree, options: &Options) -> Result<bool> {
    let hosts = options.hosts();
    let mut needs = vec![Need::Disk(4)];
    hosts.iter().for_each(|host| needs.extend(Need::of(*host, options)));
    // Who runs the processes of a fleet is Python, whatever they are written in.
    let is_fleet = hosts.contains(&Host::Python);
    needs.extend(is_fleet.then_some(Need::Redis));
    preflight::run(tree, options, &needs)?;

    let mut results = Vec::new();
    let mut steps = Vec::new();
    for host in &hosts {
        steps.extend(install::steps(tree, options, *host)?);
        steps.extend(install::folder_steps(tree, *host, folder(*host)));
    }
    // Everything is compiled and installed before the first clock starts.
    if hosts.contains(&Host::Rust) {
        steps.push(Step::new("bench-rust", "", |log| {
            log.run(tree.cargo().args(["build", "--profile", "bench", "--package", "bench-rust"]))?;
            Ok(Outcome::Made("built".to_owned()))
        }));
    }
    if hosts.contains(&Host::Kotlin) {
        steps.push(maven::module_step(tree, folder(Host::Kotlin)));
    }
    if hosts.contains(&Host::Swift) {
        // The last two are measured by the first.
        let products = [SWIFT, "SizeWith", "SizeWithout"];
        steps.extend(products.map(|product| swift::build_step(tree, "tests", product, Configuration::Release)));
    }
    if is_fleet {
        steps.extend(install::folder_steps(tree, Host::Python, PEERS));
        if hosts.contains(&Host::Node) {
            steps.extend(install::folder_steps(tree, Host::Node, "tests/hosts/node"));
        }
        if hosts.contains(&Host::Kotlin) {
            steps.push(maven::module_step(tree, "tests/peers/drivers/kotlin"));
        }
        if hosts.contains(&Host::Swift) {
            steps.push(swift::build_step(tree, "tests", "PeersSwift", Configuration::Release));
        }
        steps.push(Step::new("fleet", "its drivers and its authority", |log| {
            log.run(tree.cargo().args(["build", "--quiet", "--package", "authority"]))?;
            log.run(tree.cargo().args(["build", "--quiet", "--profile", "bench", "--package", "peers-rust"]))?;
            Ok(Outcome::Made("built".to_owned()))
        }));
    }
    let mut measure = Step::new("measure", "nothing else should run meanwhile", |log| {
        for host in &hosts {
            let mut command = match host {
                Host::Rust => {
                    let mut cargo = tree.cargo();
                    cargo.args(["run", "--quiet", "--profile", "bench", "--package", "bench-rust"]);
                    cargo
                }
                Host::Node | Host::Python => {
                    let mut interpreter = install::interpreter(tree, *host, folder(*host))?;
                    let name = if *host == Host::Node { "bench.mjs" } else { "bench.py" };
                    interpreter.arg(tree.root.join(folder(*host)).join(name));
                    interpreter
                }
                Host::Kotlin => maven::java(tree, folder(*host), "BenchKt")?,
                Host::Swift => swift::command(tree, swift::executable(tree, "tests", SWIFT, Configuration::Release))?,
            };
            results.push(log.read(&mut command)?);
        }
        if is_fleet {
            let names: Vec<&str> = hosts.iter().map(|host| host.name()).collect();
            let mut command = install::interpreter(tree, Host::Python, PEERS)?;
            command.args(["tests/fleet/run.py", "--figures", "--hosts", &names.join(",")]);
            results.push(log.read(command.env("REMINT_AUTHORITY", authority::program(tree)))?);
        }
        Ok(Outcome::Made(format!("{} languages", hosts.len())))
    });
    measure.limit *= 3;
    steps.push(measure);
    let summary = progress::run(tree, "bench", steps, false)?;
    results.iter().for_each(|result| println!("\n{}", result.trim_end()));
    Ok(summary.failures.is_empty())
}

fn folder(host: Host) -> &'static str {
    match host {
        Host::Rust => "tests/bench/rust",
        Host::Node => "tests/bench/node",
        Host::Python => "tests/bench/python",
        Host::Kotlin => "tests/bench/kotlin",
        Host::Swift => "tests/bench/swift",
    }
}

const SWIFT: &str = "BenchSwift";
/// What the drivers in Python need.
const PEERS: &str = "tests/peers";
