//! Every suite of the project, one line each, and `cargo xtask test` that runs them.

use std::{process::Command, time::Instant};

use anyhow::{Result, bail, ensure};

use crate::{
    cli::Options,
    counts::Report,
    hosts::Host,
    package,
    preflight::{self, Need},
    progress::{self, Log, Outcome, Step},
    tree::Tree,
};

/// In the order in which they run: what fails soonest comes first.
const SUITES: &[Suite] = &[
    Suite::new("format", Report::Exit, Program::Cargo("fmt --all --check -- --color never")),
    Suite::new("lockfile", Report::Exit, Program::Cargo("metadata --locked --quiet --format-version 1")),
    Suite::new(
        "lint",
        Report::Exit,
        Program::Cargo("clippy --workspace --exclude xtask-bindgen --all-targets -- --deny warnings"),
    ),
    Suite::new("core", Report::Cargo, Program::Cargo("test --package remint --all-features")),
    Suite::new("xtask", Report::Cargo, Program::Cargo("test --package xtask")),
    Suite::new("authority", Report::Cargo, Program::Cargo("test --package authority")),
    Suite::new("vectors-rust", Report::Plain, Program::Cargo("run --quiet --package vectors-rust -- tests/vectors")),
    Suite::new(
        "vectors-node",
        Report::Plain,
        Program::Script(Host::Node, "tests/vectors/runners/node.mjs tests/vectors"),
    ),
    Suite::new(
        "vectors-python",
        Report::Plain,
        Program::Script(Host::Python, "tests/vectors/runners/python.py tests/vectors"),
    ),
];

pub struct Suite {
    /// Words joined by dashes; `cargo xtask test WORD` runs all suites that have it.
    name: &'static str,
    report: Report,
    program: Program,
}

/// What a suite runs, in the checkout, as words separated by spaces.
pub enum Program {
    Cargo(&'static str),
    /// A program of one language, with that language's package installed.
    Script(Host, &'static str),
}

impl Suite {
    const fn new(name: &'static str, report: Report, program: Program) -> Self {
        Self { name, report, program }
    }

    fn host(&self) -> Host {
        match self.program {
            Program::Cargo(_) => Host::Rust,
            Program::Script(host, _) => host,
        }
    }

    /// Whether one of `words` is its name or part of it. No words select everything.
    fn is_selected(&self, words: &[String]) -> bool {
        words.is_empty() || words.iter().any(|word| word == self.name || self.name.split('-').any(|part| part == word))
    }

    fn run(&self, tree: &Tree, log: &mut Log) -> Result<Outcome> {
        log.test(&mut self.program.command(tree)?, self.report)
    }
}

impl Program {
    fn command(&self, tree: &Tree) -> Result<Command> {
        match self {
            Self::Cargo(words) => {
                let mut command = tree.cargo();
                command.args(words.split(' '));
                Ok(command)
            }
            Self::Script(host, words) => {
                if let Some(script) = words.split(' ').next() {
                    ensure!(tree.root.join(script).exists(), "there is no {script}");
                }
                let mut command = host.interpreter(tree)?;
                command.args(words.split(' '));
                Ok(command)
            }
        }
    }
}

pub fn run(tree: &Tree, options: &Options) -> Result<bool> {
    let suites: Vec<&Suite> = SUITES.iter().filter(|suite| suite.is_selected(&options.words)).collect();
    if options.list {
        suites.iter().for_each(|suite| println!("{}", suite.name));
        return Ok(true);
    }
    if suites.is_empty() {
        bail!("no suite is called that; `cargo xtask test --list` shows all");
    }
    let needs: Vec<Need> =
        suites.iter().flat_map(|suite| Need::of(suite.host(), options)).chain([Need::Disk(6)]).collect();
    preflight::run(tree, options, &needs)?;

    let started = Instant::now();
    let mut steps = Vec::new();
    let mut installed = Vec::new();
    for suite in suites {
        // A package is made just before the first suite that needs it.
        if !installed.contains(&suite.host()) {
            installed.push(suite.host());
            steps.extend(package::installing(tree, options, suite.host())?);
        }
        steps.push(Step::new(suite.name, "", move |log| suite.run(tree, log)));
    }
    let summary = progress::run(tree, "test", steps, true)?;
    Ok(summary.report(started))
}
