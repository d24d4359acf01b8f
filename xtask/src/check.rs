//! `cargo xtask check`: what is worth running after every edit.

use std::time::Instant;

use anyhow::Result;

use crate::{
    counts::Report,
    progress::{self, Step},
    tree::Tree,
};

pub fn run(tree: &Tree) -> Result<bool> {
    let started = Instant::now();
    let steps = CHECKS
        .iter()
        .map(|(name, report, words)| {
            Step::new(*name, "", move |log| log.test(tree.cargo().args(words.split(' ')), *report))
        })
        .collect();
    let summary = progress::run(tree, "check", steps, true)?;
    Ok(summary.report(started))
}

/// Without a package named, cargo takes the workspace's default members.
const CHECKS: &[(&str, Report, &str)] = &[
    ("format", Report::Exit, "fmt --all --check -- --color never"),
    ("lint", Report::Exit, "clippy --quiet --message-format short --all-targets -- --deny warnings"),
    ("unit tests", Report::Cargo, "test --quiet --lib --bins --tests"),
];
