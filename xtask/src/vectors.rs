//! `cargo xtask vectors`: the vectors of any folder, through the public binding of each host.

use std::{fs, process::Command, time::Instant};

use anyhow::{Context, Result, ensure};

use crate::{
    cli::Options,
    counts::Report,
    hosts::Host,
    install, maven,
    preflight::{self, Need},
    progress::{self, Step},
    swift::{self, Configuration},
    tree::Tree,
};

pub fn run(tree: &Tree, options: &Options) -> Result<bool> {
    let dir = options.dir.clone().context("say which folder: `cargo xtask vectors --dir DIR`")?;
    let dir = fs::canonicalize(&dir).with_context(|| format!("there is no folder {}", dir.display()))?;
    ensure!(dir.is_dir(), "{} isn't a folder", dir.display());
    let hosts = options.hosts();
    let needs: Vec<Need> = hosts.iter().flat_map(|host| Need::of(*host, options)).collect();
    preflight::run(tree, options, &needs)?;

    let started = Instant::now();
    let mut steps = Vec::new();
    for host in hosts {
        steps.extend(install::steps(tree, options, host)?);
        steps.extend(builds(tree, host));
        let dir = dir.clone();
        steps.push(Step::new(format!("vectors: {}", host.name()), "", move |log| {
            log.test(runner(tree, host)?.arg(dir), Report::Plain)
        }));
    }
    let summary = progress::run(tree, "vectors", steps, true)?;
    Ok(summary.report(started))
}

/// What has to be compiled before [`runner`] can run.
fn builds(tree: &Tree, host: Host) -> Option<Step<'_>> {
    match host {
        Host::Kotlin => Some(maven::module_step(tree, KOTLIN)),
        Host::Swift => Some(swift::build_step(tree, "tests", SWIFT, Configuration::Debug)),
        Host::Rust | Host::Node | Host::Python => None,
    }
}

/// The program that replays vectors in one host; it takes the folder.
fn runner(tree: &Tree, host: Host) -> Result<Command> {
    Ok(match host {
        Host::Rust => {
            let mut cargo = tree.cargo();
            cargo.args(["run", "--quiet", "--package", "vectors-rust", "--"]);
            cargo
        }
        Host::Node | Host::Python => {
            let script = if host == Host::Node { "node.mjs" } else { "python.py" };
            let mut interpreter = install::interpreter(tree, host, "")?;
            interpreter.arg(tree.root.join("tests/vectors/runners").join(script));
            interpreter
        }
        Host::Kotlin => maven::java(tree, KOTLIN, "dev.remint.vectors.MainKt")?,
        Host::Swift => swift::command(tree, swift::executable(tree, "tests", SWIFT, Configuration::Debug))?,
    })
}

const KOTLIN: &str = "tests/vectors/runners/kotlin";
const SWIFT: &str = "VectorsSwift";
