//! What users install, made from the checkout: the crate, the npm tarball and the wheel, in `target/packages/`.
//! And an empty project per language with it installed, where tests, examples and the demo run.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    cache::{Entry, fingerprint, lock},
    cli::Options,
    hosts::Host,
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
    let mut steps = Vec::new();
    for host in hosts {
        steps.extend(packing(tree, options, host)?);
    }
    let summary = progress::run(tree, "package", steps, false)?;
    Ok(summary.failures.is_empty())
}

/// The steps that leave one language's package in `target/packages/`; none where it is up to date.
fn packing<'a>(tree: &'a Tree, options: &Options, host: Host) -> Result<Vec<Step<'a>>> {
    let stamp = Stamp::new(tree, host)?;
    if stamp.is_current()? {
        return Ok(vec![Step::new(what(host), "unchanged", move |_| stamp.show())]);
    }
    // An older one must not pass for the result of a build that failed.
    stamp.remove()?;
    Ok(match host {
        Host::Rust => vec![Step::new(what(host), "", move |log| krate(tree, log, &stamp))],
        Host::Node => {
            let mut steps = wasm::steps(tree, options, tree.root.join(JS).join("build/native"))?;
            steps.push(Step::new(what(host), "", move |log| npm(tree, log, &stamp)));
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

/// The steps after which [`Host::interpreter`] works.
pub fn installing<'a>(tree: &'a Tree, options: &Options, host: Host) -> Result<Vec<Step<'a>>> {
    if host == Host::Rust {
        return Ok(Vec::new());
    }
    let mut steps = packing(tree, options, host)?;
    steps.push(Step::new(format!("install for {}", host.name()), "", move |log| {
        let stamp = Stamp::new(tree, host)?;
        let package = stamp.package().context("nothing to install; its packaging step failed")?;
        let dir = tree.installed(host);
        let mark = dir.join(".installed");
        let wanted = fingerprint(&tree.packages(), &[&package_name(&package)])?;
        if fs::read_to_string(&mark).ok() == Some(wanted.clone()) {
            return Ok(Outcome::Made("unchanged".to_owned()));
        }
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        match host {
            Host::Rust => {}
            Host::Node => {
                fs::write(dir.join("package.json"), "{ \"private\": true }\n")?;
                log.run(npm_command(&dir).args(["install", "--no-package-lock"]).arg(&package))?;
                // Node looks for packages beside a program and above it: so `import "remint"` works in the checkout.
                let link = tree.root.join("node_modules/remint");
                fs::create_dir_all(tree.root.join("node_modules"))?;
                let _ = fs::remove_file(&link);
                symlink(dir.join("node_modules/remint"), link)?;
            }
            Host::Python => {
                log.run(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
                log.run(pip(&dir.join("bin/python")).args(["--no-index", "--no-deps"]).arg(&package))?;
            }
        }
        fs::write(mark, wanted)?;
        Ok(Outcome::Made(format!("{} in {}", package_name(&package), tree.show(&dir))))
    }));
    Ok(steps)
}

fn what(host: Host) -> &'static str {
    match host {
        Host::Rust => "crate",
        Host::Node => "npm package",
        Host::Python => "wheel",
    }
}

fn krate(tree: &Tree, log: &mut Log, stamp: &Stamp<'_>) -> Result<Outcome> {
    // A person packages what lies in front of them; only a release has to come from a commit.
    log.run(tree.cargo().args(["package", "--allow-dirty", "--package", "remint"]))?;
    let made = files(&tree.cargo_target.join("package"), ".crate")?;
    let newest = made.into_iter().max_by_key(|path| fs::metadata(path).and_then(|data| data.modified()).ok());
    let made = newest.context("cargo made no .crate file")?;
    fs::create_dir_all(tree.packages())?;
    fs::copy(&made, tree.packages().join(package_name(&made)))?;
    stamp.set()
}

fn npm(tree: &Tree, log: &mut Log, stamp: &Stamp<'_>) -> Result<Outcome> {
    let js = tree.root.join(JS);
    let _lock = lock(&tree.root.join("target/npm"))?;
    // `npm ci` starts from nothing each time: needed only when what it would install has changed.
    let wanted = fingerprint(&js, &["package-lock.json"])?;
    let mark = js.join("node_modules/.installed");
    if fs::read_to_string(&mark).ok() != Some(wanted.clone()) {
        log.run(npm_command(&js).args(["ci", "--prefer-offline"]))?;
        fs::write(&mark, &wanted)?;
    }
    log.run(npm_command(&js).args(["run", "build"]))?;
    fs::create_dir_all(tree.packages())?;
    log.run(npm_command(&js).args(["pack", "--pack-destination"]).arg(tree.packages()))?;
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

pub fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    command
}

pub fn npm_command(dir: &Path) -> Command {
    let mut command = Command::new("npm");
    command
        .current_dir(dir)
        .env("npm_config_audit", "false")
        .env("npm_config_fund", "false")
        .env("npm_config_update_notifier", "false");
    command
}

/// Whether a package was made from the sources as they are now.
struct Stamp<'a> {
    tree: &'a Tree,
    host: Host,
    digest: String,
}

impl<'a> Stamp<'a> {
    fn new(tree: &'a Tree, host: Host) -> Result<Self> {
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
    fn package(&self) -> Result<PathBuf> {
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

fn files(dir: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if dir.is_dir() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if package_name(&path).ends_with(ending) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn package_name(path: impl AsRef<Path>) -> String {
    path.as_ref().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The npm package's folder.
const JS: &str = "bindings-wasm/js";
const PYTHON_TOOLS: [&str; 2] = ["maturin==1.16.0", "ziglang==0.15.2"];
