//! `cargo xtask vectors`: the vectors of any folder, through the public binding of each host.

use std::{fs, path::PathBuf, process::Command, time::Instant};

use anyhow::{Context, Result, ensure};

use crate::{
    cli::Options,
    counts::Report,
    hosts::Host,
    package,
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
        steps.extend(package::installing(tree, options, host)?);
        let dir = dir.clone();
        steps.push(Step::new(format!("vectors: {}", host.name()), "", move |log| {
            log.test(runner(tree, host)?.arg(dir), Report::Plain)
        }));
    }
    let summary = progress::run(tree, "vectors", steps, true)?;
    Ok(summary.report(started))
}

/// The program that replays vectors in one host; it takes the folder.
pub fn runner(tree: &Tree, host: Host) -> Result<Command> {
    let script = |name: &str| -> PathBuf { tree.root.join("tests/vectors/runners").join(name) };
    let mut command;
    match host {
        Host::Rust => {
            command = tree.cargo();
            command.args(["run", "--quiet", "--package", "vectors-rust", "--"]);
        }
        Host::Node => {
            command = host.interpreter(tree)?;
            command.arg(script("node.mjs"));
        }
        Host::Python => {
            command = host.interpreter(tree)?;
            command.arg(script("python.py"));
        }
    }
    Ok(command)
}
