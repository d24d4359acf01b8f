//! Every suite of the project, one line each, and `cargo xtask test` that runs them.

use std::{fs, time::Instant};

use anyhow::{Context, Result, ensure};

use crate::{
    authority,
    cli::Options,
    counts::Report,
    hosts::Host,
    install, maven, oldest,
    preflight::{self, Need},
    progress::{self, Log, Outcome, Step},
    swift::{self, Configuration},
    tree::Tree,
    uniffi,
    wasm::{self, Toolchain},
};

/// In the order in which they run: what fails soonest comes first.
const SUITES: &[Suite] = &[
    Suite::new("format", Report::Exit, Program::Cargo("fmt --all --check -- --color never")),
    Suite::new("lockfile", Report::Exit, Program::Cargo("metadata --locked --quiet --format-version 1")),
    Suite::new(
        "lint",
        Report::Exit,
        Program::Cargo(
            "clippy --quiet --message-format short --workspace --exclude xtask-bindgen --all-targets -- --deny warnings",
        ),
    ),
    Suite::new("core", Report::Cargo, Program::Cargo("test --no-fail-fast --package remint --all-features")),
    Suite::new("no-std", Report::Exit, Program::CoreAlone),
    Suite::new("oldest-rust", Report::Exit, Program::OldestRust("check --package remint --all-features")),
    Suite::new("xtask", Report::Cargo, Program::Cargo("test --no-fail-fast --package xtask")),
    Suite::new("authority", Report::Cargo, Program::Cargo("test --no-fail-fast --package authority")),
    Suite::new("vectors-rust", Report::Plain, Program::Cargo("run --quiet --package vectors-rust -- tests/vectors")),
    Suite::new("vectors-themselves", Report::Cargo, Program::Cargo("test --package vectors-rust")),
    Suite::new(
        // A crate elsewhere in a user's tree may turn this on: numbers are then read in another way.
        "vectors-precision",
        Report::Plain,
        Program::Cargo("run --quiet --package vectors-rust --features arbitrary-precision -- tests/vectors"),
    ),
    Suite::new(
        // Random and exhaustive stories of a fleet. As fast as it gets: it plays a hundred thousand of them.
        "simulator",
        Report::Plain,
        Program::Cargo("run --quiet --profile bench --package simulator -- --schedules 100000 --explore 5000000"),
    ),
    Suite::new(
        "simulator-itself",
        Report::Cargo,
        Program::Cargo("test --no-fail-fast --profile bench --package simulator"),
    ),
    Suite::new(
        "hosts-rust",
        Report::Cargo,
        Program::Cargo("test --no-fail-fast --package hosts-rust --package examples-rust"),
    )
    .needing(&[Need::Redis]),
    Suite::new(
        "unit-node",
        Report::Node,
        Program::Node(
            "bindings-wasm/js",
            "--test --test-force-exit --test-reporter=tap bindings-wasm/js/test/*.test.mjs",
        ),
    ),
    Suite::new("vectors-node", Report::Plain, Program::Node("", "tests/vectors/runners/node.mjs tests/vectors")),
    Suite::new(
        "hosts-node",
        Report::Node,
        Program::Node("tests/hosts/node", "--test --test-force-exit --test-reporter=tap tests/hosts/node/*.test.mjs"),
    )
    .needing(&[Need::Redis]),
    Suite::new(
        "packaging-node",
        Report::Node,
        Program::Node(
            "tests/packaging/node",
            "--test --test-force-exit --test-reporter=tap tests/packaging/node/*.test.mjs",
        ),
    ),
    Suite::new("schemas", Report::Plain, Program::Python("tests/schemas", "tests/schemas/run.py")),
    Suite::new("vectors-python", Report::Plain, Program::Python("", "tests/vectors/runners/python.py tests/vectors")),
    Suite::new(
        "hosts-python",
        Report::Pytest,
        Program::Python("tests/hosts/python", "-m pytest -q tests/hosts/python"),
    )
    .needing(&[Need::Postgres, Need::Redis, Need::SoftHsm]),
    Suite::new(
        "packaging-python",
        Report::Pytest,
        Program::Python("tests/packaging/python", "-m pytest -q tests/packaging/python"),
    ),
    Suite::new("generated", Report::Plain, Program::Generated).with(&[Host::Kotlin]),
    Suite::new("unit-kotlin", Report::Surefire, Program::Maven("verify")).needing(&[Need::Redis, Need::SoftHsm]),
    Suite::new(
        "vectors-kotlin",
        Report::Plain,
        Program::Kotlin("tests/vectors/runners/kotlin", "dev.remint.vectors.MainKt tests/vectors"),
    ),
    Suite::new("hosts-kotlin", Report::Plain, Program::Kotlin("tests/hosts/kotlin", "dev.remint.hosts.MainKt"))
        .needing(&[Need::Redis]),
    Suite::new(
        "packaging-kotlin",
        Report::Pytest,
        Program::Python("tests/packaging/kotlin", "-m pytest -q tests/packaging/kotlin"),
    )
    .with(&[Host::Kotlin]),
    Suite::new("unit-swift", Report::Swift, Program::SwiftTest),
    Suite::new("vectors-swift", Report::Plain, Program::Swift("tests", "VectorsSwift tests/vectors")),
    Suite::new("hosts-swift", Report::Plain, Program::Swift("tests", "HostsSwift")),
    Suite::new("packaging-swift", Report::Plain, Program::Python("", "tests/packaging/swift/test_package.py"))
        .with(&[Host::Swift]),
    Suite::new("examples", Report::Plain, Program::Python("examples/python", "tests/examples/run.py"))
        .with(&[Host::Node, Host::Kotlin, Host::Swift])
        .taking_hosts()
        .needing(&[Need::Postgres])
        .builds(&[
            Build::Kotlin("examples/kotlin"),
            Build::Kotlin("examples/kotlin/spring"),
            Build::Swift("examples", "PhoenixSecurity"),
            Build::Swift("examples", "PhoenixWallet"),
            Build::Swift("examples", "PhoenixMarket"),
            Build::Swift("examples", "Personify"),
            Build::Swift("examples", "Rapidomize"),
            Build::Swift("examples", "OwnProfile"),
            Build::Swift("examples", "VaporApp"),
            Build::Swift("examples", "MobileApp"),
            Build::Swift("examples", "MobileBackEnd"),
        ]),
    Suite::new("peers", Report::Plain, Program::Python("tests/peers", "tests/peers/run.py"))
        .with(&[Host::Node, Host::Kotlin, Host::Swift])
        .taking_hosts()
        .packages(PEERS_PACKAGES)
        .builds(PEERS_BUILDS),
    // Servers that take longer to start.
    Suite::new("peers-heavy", Report::Plain, Program::Python("tests/peers", "tests/peers/run.py --servers heavy"))
        .with(&[Host::Node, Host::Kotlin, Host::Swift])
        .taking_hosts()
        .packages(PEERS_PACKAGES)
        .builds(PEERS_BUILDS),
    // Processes that share their tokens, in Redis and in a folder.
    Suite::new("fleet", Report::Plain, Program::Python("tests/peers", "tests/fleet/run.py")).of_a_fleet(),
    Suite::new(
        "fleet-valkey",
        Report::Plain,
        Program::Python("tests/peers", "tests/fleet/run.py --engine valkey-server --only faults --size 8"),
    )
    .of_a_fleet(),
    Suite::new(
        "fleet-heavy",
        Report::Plain,
        Program::Python("tests/peers", "tests/fleet/run.py --heavy --only rotation"),
    )
    .for_its_name_alone()
    .of_a_fleet(),
    Suite::new("demo", Report::Plain, Program::Cargo("xtask demo --yes"))
        .with(&[Host::Node, Host::Python, Host::Kotlin, Host::Swift])
        .taking_hosts(),
];

/// What the drivers of `tests/peers` are made of, beside what their languages need anyway.
const PEERS_BUILDS: &[Build] = &[Build::Kotlin("tests/peers/drivers/kotlin"), Build::Swift("tests", "PeersSwift")];
/// Node's driver uses the Redis clients that the tests of its host use.
const PEERS_PACKAGES: &[(Host, &str)] = &[(Host::Node, "tests/hosts/node")];

struct Suite {
    /// Words joined by dashes; `cargo xtask test WORD` runs all suites that have it.
    name: &'static str,
    report: Report,
    program: Program,
    /// Further languages whose packages it uses.
    with: &'static [Host],
    /// Whether its program takes `--hosts`, and so can do without some of them.
    takes_hosts: bool,
    /// It takes so long that it runs for those alone who ask for it by its whole name.
    for_its_name_alone: bool,
    /// What has to be compiled for it besides its own program.
    builds: &'static [Build],
    /// Further folders that list packages, and the language of each.
    packages: &'static [(Host, &'static str)],
    /// What it needs from the machine beside what its languages do.
    needing: &'static [Need],
}

/// A program that uses a packed artefact.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Build {
    /// A folder with a module of `tests/pom.xml`.
    Kotlin(&'static str),
    /// A folder with a `Package.swift`, and a product of it.
    Swift(&'static str, &'static str),
}

impl Build {
    fn step(self, tree: &Tree) -> Step<'_> {
        match self {
            Self::Kotlin(folder) => maven::module_step(tree, folder),
            Self::Swift(folder, product) => swift::build_step(tree, folder, product, Configuration::Debug),
        }
    }
}

/// What a suite runs: words separated by spaces, in the checkout. A word like `tests/*.test.mjs` stands for the files.
enum Program {
    Cargo(&'static str),
    /// Cargo with the oldest compiler that we promise to work with.
    OldestRust(&'static str),
    /// The core compiled without `std`.
    CoreAlone,
    /// Node with what the folder's `package-lock.json` lists, if there is one.
    Node(&'static str, &'static str),
    /// Python with what the folder's `requirements.txt` lists, if there is one.
    Python(&'static str, &'static str),
    /// A main class of the module in the folder, and its arguments.
    Kotlin(&'static str, &'static str),
    /// A program of the Swift package in the folder, and its arguments.
    Swift(&'static str, &'static str),
    /// Maven where the jars are made.
    Maven(&'static str),
    /// `swift test` where the Swift package is made.
    SwiftTest,
    /// Everything that is generated comes out the same once more.
    Generated,
}

impl Suite {
    const fn new(name: &'static str, report: Report, program: Program) -> Self {
        Self {
            name,
            report,
            program,
            with: &[],
            takes_hosts: false,
            for_its_name_alone: false,
            builds: &[],
            packages: &[],
            needing: &[],
        }
    }

    const fn with(self, with: &'static [Host]) -> Self {
        Self { with, ..self }
    }

    /// Processes of all languages, the servers that they share, and their drivers.
    const fn of_a_fleet(self) -> Self {
        self.with(&[Host::Node, Host::Kotlin, Host::Swift])
            .taking_hosts()
            .needing(&[Need::Redis])
            .packages(PEERS_PACKAGES)
            .builds(PEERS_BUILDS)
    }

    const fn for_its_name_alone(self) -> Self {
        Self { for_its_name_alone: true, ..self }
    }

    const fn taking_hosts(self) -> Self {
        Self { takes_hosts: true, ..self }
    }

    const fn builds(self, builds: &'static [Build]) -> Self {
        Self { builds, ..self }
    }

    const fn packages(self, packages: &'static [(Host, &'static str)]) -> Self {
        Self { packages, ..self }
    }

    const fn needing(self, needing: &'static [Need]) -> Self {
        Self { needing, ..self }
    }

    /// The languages whose packages it uses, of those that were named.
    fn hosts(&self, options: &Options) -> Vec<Host> {
        let hosts = options.hosts();
        let with = self.with.iter().copied().filter(|host| !self.takes_hosts || hosts.contains(host));
        with.chain([self.place().0]).collect()
    }

    /// The language and the folder that may list what else has to be installed.
    fn place(&self) -> (Host, &'static str) {
        match self.program {
            Program::Cargo(_) | Program::OldestRust(_) | Program::CoreAlone => (Host::Rust, ""),
            Program::Node(folder, _) => (Host::Node, folder),
            Program::Python(folder, _) => (Host::Python, folder),
            Program::Kotlin(..) | Program::Maven(_) => (Host::Kotlin, ""),
            Program::Swift(..) | Program::SwiftTest | Program::Generated => (Host::Swift, ""),
        }
    }

    /// All folders that may list what else has to be installed, in the languages that were named.
    fn places(&self, options: &Options) -> Vec<(Host, &'static str)> {
        let hosts = self.hosts(options);
        let listed = self.packages.iter().copied().filter(|(host, _)| hosts.contains(host));
        listed.chain([self.place()]).collect()
    }

    /// What has to be compiled for it, in the languages that were named.
    fn builds_for(&self, options: &Options) -> impl Iterator<Item = Build> {
        let hosts = self.hosts(options);
        self.all_builds().filter(move |build| match build {
            Build::Kotlin(_) => hosts.contains(&Host::Kotlin),
            Build::Swift(..) => hosts.contains(&Host::Swift),
        })
    }

    fn all_builds(&self) -> impl Iterator<Item = Build> {
        let own = match self.program {
            Program::Kotlin(folder, _) => Some(Build::Kotlin(folder)),
            Program::Swift(folder, words) => words.split(' ').next().map(|product| Build::Swift(folder, product)),
            _ => None,
        };
        own.into_iter().chain(self.builds.iter().copied())
    }

    fn needs(&self, options: &Options) -> Vec<Need> {
        let wasm = matches!(self.program, Program::CoreAlone).then(|| Need::WasmTarget(Toolchain::choose(options)));
        self.hosts(options)
            .into_iter()
            .flat_map(|host| Need::of(host, options))
            .chain(wasm)
            .chain(self.needing.iter().copied())
            .collect()
    }

    /// Whether one of the words is its name or part of it (no words select everything), and the languages that were
    /// named are all that it takes.
    fn is_selected(&self, options: &Options) -> bool {
        let hosts = options.hosts();
        let is_named = |word: &String| word == self.name || self.name.split('-').any(|part| part == word);
        let is_wanted = match self.for_its_name_alone {
            true => options.words.iter().any(|word| word == self.name),
            false => options.words.is_empty() || options.words.iter().any(is_named),
        };
        is_wanted && self.hosts(options).iter().all(|host| hosts.contains(host))
    }

    fn run(&self, tree: &Tree, options: &Options, log: &mut Log) -> Result<Outcome> {
        let (host, folder) = self.place();
        let (mut command, words) = match self.program {
            Program::Cargo(words) => (tree.cargo(), words),
            Program::OldestRust(words) => (oldest::cargo(tree)?, words),
            Program::CoreAlone => return log.test(&mut wasm::check_core_alone(tree, options)?, self.report),
            Program::Node(_, words) | Program::Python(_, words) => (install::interpreter(tree, host, folder)?, words),
            Program::Kotlin(folder, words) => {
                let (main, words) = words.split_once(' ').unwrap_or((words, ""));
                (maven::java(tree, folder, main)?, words)
            }
            Program::Swift(folder, words) => {
                let (product, words) = words.split_once(' ').unwrap_or((words, ""));
                (swift::command(tree, swift::executable(tree, folder, product, Configuration::Debug))?, words)
            }
            Program::Maven(words) => (maven::verify(tree, &authority::program(tree)), words),
            Program::SwiftTest => (swift::test(tree)?, ""),
            Program::Generated => return uniffi::check(tree, log),
        };
        if self.hosts(options).iter().any(|host| matches!(host, Host::Kotlin | Host::Swift)) {
            // No cargo where Swift is, and none in an empty project.
            log.run(tree.cargo().args(["build", "--quiet", "--package", "authority"]))?;
            command
                .env("REMINT_AUTHORITY", authority::program(tree))
                .env("REMINT_SWIFT", swift::quoted(&swift::launcher(tree))?);
        }
        for word in words.split_whitespace() {
            command.args(files(tree, word)?);
        }
        if self.takes_hosts {
            let names: Vec<&str> = options.hosts().into_iter().map(Host::name).collect();
            command.arg("--hosts").arg(names.join(","));
        }
        log.test(&mut command, self.report)
    }
}

pub fn run(tree: &Tree, options: &Options) -> Result<bool> {
    let suites: Vec<&Suite> = SUITES.iter().filter(|suite| suite.is_selected(options)).collect();
    if options.list {
        suites.iter().for_each(|suite| println!("{}", suite.name));
        return Ok(true);
    }
    ensure!(!suites.is_empty(), "no suite is called that; `cargo xtask test --list` shows all");
    let mut needs = vec![Need::Disk(8), Need::Linters];
    suites.iter().for_each(|suite| needs.extend(suite.needs(options)));
    preflight::run(tree, options, &needs)?;

    let started = Instant::now();
    let mut steps = Vec::new();
    let mut hosts = Vec::new();
    let mut places = Vec::new();
    let mut builds = Vec::new();
    for suite in suites {
        // Packages are made just before the first suite that needs them.
        for host in suite.hosts(options) {
            if !hosts.contains(&host) {
                hosts.push(host);
                steps.extend(install::steps(tree, options, host)?);
            }
        }
        for place @ (host, folder) in suite.places(options) {
            if !places.contains(&place) {
                places.push(place);
                steps.extend(install::folder_steps(tree, host, folder));
            }
        }
        for build in suite.builds_for(options) {
            if !builds.contains(&build) {
                builds.push(build);
                steps.push(build.step(tree));
            }
        }
        if matches!(suite.program, Program::OldestRust(_)) {
            steps.push(oldest::step()?);
        }
        steps.push(Step::new(suite.name, "", move |log| suite.run(tree, options, log)));
    }
    let summary = progress::run(tree, "test", steps, true)?;
    Ok(summary.report(started))
}

/// The word itself, or the files that its last part with a `*` stands for.
fn files(tree: &Tree, word: &str) -> Result<Vec<String>> {
    let Some((folder, pattern)) = word.rsplit_once('/').filter(|(_, pattern)| pattern.contains('*')) else {
        return Ok(vec![word.to_owned()]);
    };
    let (prefix, suffix) = pattern.split_once('*').unwrap_or((pattern, ""));
    let mut found = Vec::new();
    for entry in fs::read_dir(tree.root.join(folder)).with_context(|| format!("there is no folder {folder}"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(prefix) && name.ends_with(suffix) {
            found.push(format!("{folder}/{name}"));
        }
    }
    ensure!(!found.is_empty(), "no file is called {word}");
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(words: &[&str]) -> Vec<&'static str> {
        let options = Options::parse(["test"].iter().chain(words).map(|word| (*word).to_owned())).unwrap();
        SUITES.iter().filter(|suite| suite.is_selected(&options)).map(|suite| suite.name).collect()
    }

    #[test]
    fn a_language_that_was_not_named_is_not_needed() {
        for name in named(&["--hosts", "rust,node,python"]) {
            assert!(!name.contains("kotlin") && !name.contains("swift") && name != "generated", "{name}");
        }
        let options = Options::parse(["test", "--hosts=rust,python,kotlin"].map(str::to_owned)).unwrap();
        let peers = SUITES.iter().find(|suite| suite.name == "peers").unwrap();
        assert_eq!(peers.hosts(&options), [Host::Kotlin, Host::Python]);
        assert_eq!(peers.builds_for(&options).count(), 1);
        assert_eq!(peers.places(&options), [(Host::Python, "tests/peers")]);
        assert!(named(&["--hosts", "node,python", "examples"]).contains(&"examples"));
    }

    #[test]
    fn a_word_selects_the_suites_that_have_it_in_their_name() {
        assert_eq!(
            named(&["vectors"]),
            [
                "vectors-rust",
                "vectors-themselves",
                "vectors-precision",
                "vectors-node",
                "vectors-python",
                "vectors-kotlin",
                "vectors-swift"
            ]
        );
        assert_eq!(named(&["vectors-node", "core"]), ["core", "vectors-node"]);
        assert_eq!(named(&["vector"]), [""; 0]);
        let rare = SUITES.iter().filter(|suite| suite.for_its_name_alone).count();
        assert_eq!(named(&[]).len() + rare, SUITES.len());
        assert_eq!(named(&["fleet"]), ["fleet", "fleet-valkey"]);
        assert_eq!(named(&["fleet-valkey"]), ["fleet-valkey"]);
        assert_eq!(named(&["fleet-heavy"]), ["fleet-heavy"]);
    }

    #[test]
    fn no_two_suites_have_one_name() {
        for (index, suite) in SUITES.iter().enumerate() {
            assert!(SUITES.iter().skip(index + 1).all(|other| other.name != suite.name), "{}", suite.name);
        }
    }

    #[test]
    fn every_file_that_a_suite_names_is_there() {
        let tree = Tree::find().unwrap();
        for suite in SUITES {
            if let Program::Node(_, words) | Program::Python(_, words) = suite.program {
                for word in words.split(' ').filter(|word| word.contains('/')) {
                    for file in files(&tree, word).unwrap() {
                        assert!(tree.root.join(&file).exists(), "{}: {file}", suite.name);
                    }
                }
            }
            for build in suite.all_builds() {
                let (file, content) = match build {
                    Build::Kotlin(folder) => (format!("{folder}/pom.xml"), "<parent>"),
                    Build::Swift(folder, product) => (format!("{folder}/Package.swift"), product),
                };
                let text = fs::read_to_string(tree.root.join(&file)).unwrap_or_default();
                assert!(text.contains(content), "{}: {file} has no {content}", suite.name);
            }
        }
    }
}
