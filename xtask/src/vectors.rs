//! `cargo xtask vectors`: the vectors of any folder, through the public binding of each host.

use std::{fs, process::Command, time::Instant};

use anyhow::{Context, Result, ensure};

use crate::{
    cli::Options,
    counts::Report,
    hosts::Host,
    install,
    preflight::{self, Need},
    progress::{self, Step},
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
        let dir = dir.clone();
        steps.push(Step::new(format!("vectors: {}", host.name()), "", move |log| {
            log.test(runner(tree, host)?.arg(dir), Report::Plain)
        }));
    }
    let summary = progress::run(tree, "vectors", steps, true)?;
    Ok(summary.report(started))
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
    })
}
