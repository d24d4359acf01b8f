//! The one entry point of the project. `cargo xtask` alone prints what it can do.
//!
//! This crate starts at once and has next to no dependencies. What takes minutes to compile is a crate of its own
//! (`xtask/bindgen`), built with progress when something is packaged.

mod authority;
mod bench;
mod bindgen;
mod cache;
mod check;
mod cli;
mod counts;
mod demo;
mod hosts;
mod install;
mod maven;
mod oldest;
mod package;
mod preflight;
mod process;
mod progress;
mod simulate;
mod suites;
mod swift;
mod tree;
mod uniffi;
mod vectors;
mod wasm;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{cli::Options, tree::Tree};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything that was asked for went well.
fn run() -> Result<bool> {
    process::end_children_on_signals()?;
    let options = Options::parse(std::env::args().skip(1))?;
    let tree = Tree::find()?;
    match options.command.as_str() {
        "" | "help" => {
            print!("{}", cli::HELP);
            Ok(true)
        }
        "bench" => bench::run(&tree, &options),
        "check" => check::run(&tree),
        "demo" => demo::run(&tree, &options),
        "package" => package::run(&tree, &options),
        "simulate" => simulate::run(&tree, &options),
        "test" => suites::run(&tree, &options),
        "vectors" => vectors::run(&tree, &options),
        other => bail!("no command `{other}`; there are bench, check, demo, package, simulate, test and vectors"),
    }
}
