//! What users install, made from the checkout: the crate, the npm tarball and the wheel, in `target/packages/`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    cache::{Entry, fingerprint, lock},
    cli::Options,
    hosts::Host,
    install::{self, npm, pip},
    preflight::{self, Need},
    process::output,
    progress::{self, Log, Outcome, Step},
    tree::Tree,
    wasm,
};

pub fn run(tree: &Tree, options: &Options) -> Result<bool> {
    let mut hosts = options.words.iter().map(|word| Host::parse(word)).collect::<Result<Vec<Host>>>()?;
    if hosts.is_empty() {
        hosts = options.hosts();
    }
    let needs: Vec<Need> = hosts.iter().flat_map(|host| Need::of(*host, options)).chain([Need::Disk(4)]).collect();
    preflight::run(tree, options, &needs)?;
    let mut all = Vec::new();
    for host in hosts {
        all.extend(steps(tree, options, host)?);
    }
    let summary = progress::run(tree, "package", all, false)?;
    Ok(summary.failures.is_empty())
}

/// The steps that leave one language's package in `target/packages/`; none where it is up to date.
pub fn steps<'a>(tree: &'a Tree, options: &Options, host: Host) -> Result<Vec<Step<'a>>> {
    let stamp = Stamp::new(tree, host)?;
    if stamp.is_current()? {
        return Ok(vec![Step::new(what(host), "unchanged", move |_| stamp.show())]);
    }
    // An older one must not pass for the result of a build that failed.
    stamp.remove()?;
    Ok(match host {
        Host::Rust => vec![Step::new(what(host), "", move |log| crate_file(tree, log, &stamp))],
        Host::Node => {
            let mut steps = wasm::steps(tree, options, tree.root.join(JS).join("build/native"))?;
            steps.push(Step::new(what(host), "", move |log| tarball(tree, log, &stamp)));
            steps
        }
        Host::Python => {
            let tools = python_tools()?;
            let python = tools.dir.join("bin/python");
            let note = if tools.is_ready() { "cached in" } else { "about 1 min, cached in" };
            vec![
                Step::new("maturin and zig", format!("{note} {}", tools.dir.display()), move |log| {
                    tools.ensure(log, |log, dir| {
                        log.run(Command::new("python3").args(["-m", "venv"]).arg(dir))?;
                        log.run(pip(&dir.join("bin/python")).args(PYTHON_TOOLS))
                    })?;
                    Ok(Outcome::Made(PYTHON_TOOLS.join(", ")))
                }),
                Step::new(what(host), "", move |log| wheel(tree, log, &python, &stamp)),
            ]
        }
    })
}

fn what(host: Host) -> &'static str {
    match host {
        Host::Rust => "crate",
        Host::Node => "npm package",
        Host::Python => "wheel",
    }
}

fn crate_file(tree: &Tree, log: &mut Log, stamp: &Stamp<'_>) -> Result<Outcome> {
    // A person packages what lies in front of them; only a release has to come from a commit.
    log.run(tree.cargo().args(["package", "--allow-dirty", "--package", "remint"]))?;
    let made = files(&tree.cargo_target.join("package"), ".crate")?;
    let newest = made.into_iter().max_by_key(|path| fs::metadata(path).and_then(|data| data.modified()).ok());
    let made = newest.context("cargo made no .crate file")?;
    fs::create_dir_all(tree.packages())?;
    fs::copy(&made, tree.packages().join(file_name(&made)))?;
    stamp.set()
}

fn tarball(tree: &Tree, log: &mut Log, stamp: &Stamp<'_>) -> Result<Outcome> {
    let js = tree.root.join(JS);
    let _lock = lock(&tree.root.join("target/npm"))?;
    install::npm_ci(log, &js)?;
    log.run(npm(&js).args(["run", "build"]))?;
    fs::create_dir_all(tree.packages())?;
    log.run(npm(&js).args(["pack", "--pack-destination"]).arg(tree.packages()))?;
    stamp.set()
}

fn wheel(tree: &Tree, log: &mut Log, python: &Path, stamp: &Stamp<'_>) -> Result<Outcome> {
    let bin = python.parent().context("an interpreter is in a folder")?;
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([bin.to_path_buf()].into_iter().chain(env::split_paths(&path)))?;
    let mut maturin = Command::new(bin.join("maturin"));
    maturin
        .current_dir(&tree.root)
        .env("PATH", path)
        .env("RUSTFLAGS", wasm::remap()?)
        .args(["build", "--release", "--strip", "--manifest-path", "bindings-python/Cargo.toml", "--out"])
        .arg(tree.packages());
    // A wheel linked on this machine would ask for its C library; zig links for an old one.
    if cfg!(target_os = "linux") {
        maturin.args(["--zig", "--compatibility", "manylinux2014"]);
    }
    let _lock = lock(&tree.root.join("target/wheel"))?;
    log.run(&mut maturin)?;
    stamp.set()
}

fn python_tools() -> Result<Entry> {
    let python = output(Command::new("python3").args(["-c", "import sys; print(sys.version, sys.prefix)"]))
        .context("can't run `python3`")?;
    Entry::new("python-tools", "1", &[&python, &PYTHON_TOOLS.concat()])
}

/// Whether a package was made from the sources as they are now.
pub struct Stamp<'a> {
    tree: &'a Tree,
    host: Host,
    digest: String,
}

impl<'a> Stamp<'a> {
    pub fn new(tree: &'a Tree, host: Host) -> Result<Self> {
        let sources: &[&str] = match host {
            Host::Rust => &["Cargo.toml", "core"],
            Host::Node => &["Cargo.toml", "Cargo.lock", "core", "bindings-wasm", "xtask/src/wasm.rs", "xtask/bindgen"],
            Host::Python => &["Cargo.toml", "Cargo.lock", "core", "bindings-python"],
        };
        if let Some(absent) = sources.iter().find(|source| !tree.root.join(source).exists()) {
            bail!("there is no {absent} in {}", tree.root.display());
        }
        Ok(Self { tree, host, digest: fingerprint(&tree.root, sources)? })
    }

    fn path(&self) -> PathBuf {
        self.tree.packages().join(format!(".{}", self.host.name()))
    }

    fn is_current(&self) -> Result<bool> {
        Ok(fs::read_to_string(self.path()).ok() == Some(self.digest.clone()) && self.package().is_ok())
    }

    fn set(&self) -> Result<Outcome> {
        fs::write(self.path(), &self.digest)?;
        self.show()
    }

    fn show(&self) -> Result<Outcome> {
        let package = self.package()?;
        let size = fs::metadata(&package)?.len().div_ceil(1024);
        Ok(Outcome::Made(format!("{} ({size} KB)", self.tree.show(&package))))
    }

    fn remove(&self) -> Result<()> {
        let _ = fs::remove_file(self.path());
        for package in self.packages()? {
            fs::remove_file(package)?;
        }
        Ok(())
    }

    /// The one package of its kind.
    pub fn package(&self) -> Result<PathBuf> {
        match self.packages()?.as_slice() {
            [package] => Ok(package.clone()),
            others => bail!(
                "{} has {} packages for {} instead of one",
                self.tree.show(&self.tree.packages()),
                others.len(),
                self.host.name()
            ),
        }
    }

    fn packages(&self) -> Result<Vec<PathBuf>> {
        let ending = match self.host {
            Host::Rust => ".crate",
            Host::Node => ".tgz",
            Host::Python => ".whl",
        };
        files(&self.tree.packages(), ending)
    }
}

pub fn files(dir: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if dir.is_dir() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if file_name(&path).ends_with(ending) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

pub fn file_name(path: impl AsRef<Path>) -> String {
    path.as_ref().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The npm package's folder.
const JS: &str = "bindings-wasm/js";
const PYTHON_TOOLS: [&str; 2] = ["maturin==1.16.0", "ziglang==0.15.2"];
