//! The oldest compiler that the shipped crates promise to build with.
//!
//! On Debian 12 its packages are unpacked into the cache, beside whatever is installed and without root. Elsewhere
//! it comes from rustup.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{
    cache::Entry,
    package,
    preflight::is_debian,
    process::output,
    progress::{Outcome, Step},
    tree::Tree,
};

pub fn step() -> Result<Step<'static>> {
    let entry = entry()?;
    let note = if entry.is_ready() { "cached in" } else { "about 20 s, cached in" };
    Ok(Step::new(format!("rust {VERSION}"), format!("{note} {}", entry.dir.display()), move |log| {
        entry.ensure(log, |log, dir| {
            if !is_debian() {
                return log.run(Command::new("rustup").args(["toolchain", "install", "--profile", "minimal", VERSION]));
            }
            let mut download = Command::new("apt-get");
            download.current_dir(dir).args(["download", "--quiet", "libllvm19"]);
            for package in ["rustc-web", "libstd-rust-web-dev", "libstd-rust-web-1.85"] {
                download.arg(format!("{package}={}", debian_version(package)?));
            }
            log.run(&mut download)?;
            for file in package::files(dir, ".deb")? {
                log.run(Command::new("dpkg").arg("--extract").arg(&file).arg(dir.join("root")))?;
                fs::remove_file(file)?;
            }
            Ok(())
        })?;
        Ok(Outcome::Made("ready".to_owned()))
    }))
}

/// Cargo that compiles with it.
pub fn cargo(tree: &Tree) -> Result<Command> {
    let entry = entry()?;
    ensure!(entry.is_ready(), "there is no Rust {VERSION}; that step failed");
    let mut cargo = tree.cargo();
    if is_debian() {
        let usr = entry.dir.join("root/usr");
        cargo.env("RUSTC", usr.join("bin/rustc")).env("LD_LIBRARY_PATH", usr.join("lib").join(multiarch()?));
    } else {
        let rustc = output(Command::new("rustup").args(["which", "--toolchain", VERSION, "rustc"]));
        cargo.env("RUSTC", rustc.with_context(|| format!("rustup has no Rust {VERSION}"))?);
    }
    // Not what other compilers made, and not in their way.
    cargo.env("CARGO_TARGET_DIR", tree.root.join("target/oldest"));
    Ok(cargo)
}

fn entry() -> Result<Entry> {
    Entry::new("rust", VERSION, &[if is_debian() { "debian" } else { "rustup" }])
}

fn debian_version(package: &str) -> Result<String> {
    let table = output(Command::new("apt-cache").args(["madison", package])).unwrap_or_default();
    let versions = table.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim);
    let found = versions.map(str::to_owned).find(|version| version.starts_with("1.85."));
    found.with_context(|| format!("no Debian package {package} of Rust 1.85; run `apt-get update`, or use Debian 12"))
}

fn multiarch() -> Result<String> {
    output(Command::new("dpkg-architecture").arg("-qDEB_HOST_MULTIARCH"))
        .or_else(|| output(Command::new("cc").arg("-print-multiarch")))
        .context("neither dpkg-architecture nor cc says this machine's architecture")
}

/// `rust-version` of the workspace.
const VERSION: &str = "1.85.0";
