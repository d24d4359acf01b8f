//! `bindings-uniffi` compiled, described in Kotlin and in Swift, and put where those packages are built from.
//!
//! What is generated is never committed. It is written only where it has changed, so that nothing compiles again in vain.

use std::{
    env::consts::{ARCH, DLL_PREFIX, DLL_SUFFIX, OS},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    bindgen::UNIFFI,
    cache::{files_below, lock},
    counts::Counts,
    hosts::Host,
    process::output,
    progress::{Log, Outcome, Step},
    tree::Tree,
    wasm::{Toolchain, remap},
};

/// From nothing to a language's generated sources and library beside its shell.
pub fn steps(tree: &Tree, host: Host) -> Result<Vec<Step<'_>>> {
    Ok(vec![
        UNIFFI.step(tree)?,
        Step::new("native library", "about 2 min the first time", move |log| {
            compile(tree, log)?;
            Ok(Outcome::Made(tree.show(&library(tree))))
        }),
        Step::new(format!("{} glue", host.title()), "", move |log| {
            let mut made = generate(tree, log, host, "glue")?;
            made.extend(libraries(tree, log, host)?);
            for (from, to) in &made {
                put(from, to)?;
            }
            let places: Vec<String> = made.iter().map(|(_, to)| tree.show(to)).collect();
            Ok(Outcome::Made(places.join(", ")))
        }),
    ])
}

/// Where Debian's compiler is, which brings its sources, the standard library is built as well: small, and without what
/// prints backtraces, which a core that does not panic has no use for. That is nearly half of the library.
fn compile(tree: &Tree, log: &mut Log) -> Result<()> {
    let mut cargo = tree.cargo();
    cargo.args(["build", "--release", "--package", "remint-bindings-uniffi"]);
    if !(OS == "linux" && Toolchain::Debian.is_installed()) {
        log.run(cargo.env("RUSTFLAGS", remap()?))?;
        return collect(tree, &tree.cargo_target.join("release"));
    }
    let cache = Toolchain::Debian.cache("native-std")?;
    let triple = format!("{ARCH}-unknown-linux-gnu");
    Toolchain::Debian.build_std(&mut cargo, "std");
    cargo.args(["--target", &triple, "--target-dir"]).arg(&cache.dir);
    cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "z");
    cargo.env("RUSTFLAGS", format!("{} -Cforce-unwind-tables=no -Zunstable-options -Cpanic=immediate-abort", remap()?));
    // Until it is copied, another checkout must not build its own in the same place.
    let _lock = lock(&cache.dir)?;
    log.run(&mut cargo)?;
    collect(tree, &cache.dir.join(triple).join("release"))
}

/// Takes the libraries as cargo leaves them.
fn collect(tree: &Tree, built: &Path) -> Result<()> {
    for library in [library(tree), archive(tree)] {
        put(&built.join(library.file_name().context("a library is a file")?), &library)?;
    }
    Ok(())
}

/// Generates everything once more: it has to come out as it lies in the tree, and git must know none of it.
pub fn check(tree: &Tree, log: &mut Log) -> Result<Outcome> {
    let mut counts = Counts::default();
    for host in [Host::Kotlin, Host::Swift] {
        for (again, before) in generate(tree, log, host, "again")? {
            ensure!(fs::read(&again)? == fs::read(&before)?, "{} comes out differently each time", tree.show(&before));
            let known = output(Command::new("git").current_dir(&tree.root).arg("ls-files").arg(&before));
            ensure!(known.context("can't run `git`")?.is_empty(), "{} is committed", tree.show(&before));
            counts.passed += 1;
        }
    }
    Ok(Outcome::Tested(counts))
}

/// The folder of a platform in the jar, as JNA names it.
pub fn jna_platform() -> Result<String> {
    let system = match OS {
        "macos" => "darwin",
        other => other,
    };
    Ok(match ARCH {
        "x86_64" => format!("{system}-x86-64"),
        "aarch64" => format!("{system}-aarch64"),
        other => bail!("the jar has no library for {other} yet; leave Kotlin out with `--hosts`"),
    })
}

/// The generated sources, made in `target/`: where each is, and where it belongs.
fn generate(tree: &Tree, log: &mut Log, host: Host, folder: &str) -> Result<Vec<(PathBuf, PathBuf)>> {
    let out = tree.root.join("target/uniffi").join(folder).join(host.name());
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out)?;
    let mut generator = Command::new(UNIFFI.program(tree)?);
    log.run(generator.current_dir(&tree.root).arg(library(tree)).arg(host.name()).arg(&out))?;
    let made = files_below(&out)?.into_iter().map(|file| {
        let inside = file.strip_prefix(&out)?;
        let place = match inside.extension().and_then(|extension| extension.to_str()) {
            Some("kt") => tree.root.join(KOTLIN).join("generated/kotlin").join(inside),
            Some("swift") => tree.root.join(SWIFT).join("Sources/RemintCore").join(inside),
            Some("h") => tree.root.join(SWIFT).join("Sources/CRemint").join(inside),
            _ => bail!("nobody knows where {} belongs", inside.display()),
        };
        Ok((file, place))
    });
    made.collect()
}

/// The compiled core without what only a debugger or the generator reads, and what finds or accompanies it.
fn libraries(tree: &Tree, log: &mut Log, host: Host) -> Result<Vec<(PathBuf, PathBuf)>> {
    let made = tree.root.join("target/uniffi/lib");
    fs::create_dir_all(&made)?;
    let strip = |log: &mut Log, library: &Path, what: &[&str]| -> Result<PathBuf> {
        let stripped = made.join(library.file_name().context("a library is a file")?);
        log.run(Command::new("strip").args(what).arg("-o").arg(&stripped).arg(library))?;
        Ok(stripped)
    };
    if host == Host::Swift {
        let lib = tree.root.join(SWIFT).join("lib");
        let archive = strip(log, &archive(tree), &["-S"])?;
        let description = made.join("remint.pc");
        fs::write(&description, format!("{PKG_CONFIG}Version: {}\n", env!("CARGO_PKG_VERSION")))?;
        return Ok(vec![(archive, lib.join("libremint_ffi.a")), (description, lib.join("remint.pc"))]);
    }
    let stripped = strip(log, &library(tree), if OS == "macos" { &["-x"] } else { &["--strip-all"] })?;
    let folder = tree.root.join(KOTLIN).join("generated/native").join(jna_platform()?);
    let place = folder.join(stripped.file_name().context("a library is a file")?);
    Ok(vec![(stripped, place)])
}

/// Copies a file, unless the same is there already.
fn put(from: &Path, to: &Path) -> Result<()> {
    let content = fs::read(from).with_context(|| format!("there is no {}", from.display()))?;
    if fs::read(to).ok().as_ref() != Some(&content) {
        fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
        // In one go: a compiler may be reading the old one.
        let new = to.with_extension("new");
        fs::write(&new, content)?;
        fs::rename(new, to)?;
    }
    Ok(())
}

/// As cargo leaves it, which is as the generator needs it: unstripped.
fn library(tree: &Tree) -> PathBuf {
    tree.root.join("target/uniffi").join(format!("{DLL_PREFIX}remint_ffi{DLL_SUFFIX}"))
}

fn archive(tree: &Tree) -> PathBuf {
    tree.root.join("target/uniffi/libremint_ffi.a")
}

pub const KOTLIN: &str = "bindings-uniffi/kotlin";
pub const SWIFT: &str = "bindings-uniffi/swift";
pub const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];
/// Beside the library, wherever the package is moved.
const PKG_CONFIG: &str = "\
prefix=${pcfiledir}
Name: remint
Description: The core of Remint
Libs: -L${prefix} -lremint_ffi
";
