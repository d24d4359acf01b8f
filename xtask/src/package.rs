//! What users install, made from the checkout: the crate, the npm tarball, the wheel, the jars and the Swift package, in
//! `target/packages/`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    cache::{Entry, files_below, fingerprint, lock},
    cli::Options,
    hosts::Host,
    install::{self, npm, pip},
    maven::{self, mvn},
    preflight::{self, Need},
    process::output,
    progress::{self, Log, Outcome, Step},
    tree::Tree,
    uniffi, wasm,
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
        Host::Kotlin => {
            let mut steps = uniffi::steps(tree, host)?;
            steps.push(Step::new(what(host), "Maven gets Kotlin the first time", move |log| jars(tree, log, &stamp)));
            steps
        }
        Host::Swift => {
            let mut steps = uniffi::steps(tree, host)?;
            steps.push(Step::new(what(host), "", move |_| swift_package(tree, &stamp)));
            steps
        }
    })
}

fn what(host: Host) -> &'static str {
    match host {
        Host::Rust => "crate",
        Host::Node => "npm package",
        Host::Python => "wheel",
        Host::Kotlin => "jars",
        Host::Swift => "Swift package",
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
        .args(["build", "--release", "--strip", "--compression-level", "9"])
        .args(["--manifest-path", "bindings-python/Cargo.toml", "--out"])
        .arg(tree.packages());
    // A wheel linked on this machine would ask for its C library; zig links for an old one.
    if cfg!(target_os = "linux") {
        maturin.args(["--zig", "--compatibility", "manylinux2014"]);
    }
    let _lock = lock(&tree.root.join("target/wheel"))?;
    log.run(&mut maturin)?;
    stamp.set()
}

fn jars(tree: &Tree, log: &mut Log, stamp: &Stamp<'_>) -> Result<Outcome> {
    let parent = tree.root.join(uniffi::KOTLIN);
    let _lock = lock(&tree.root.join("target/jars"))?;
    // The tests are a suite of their own. `clean`, because the compiler leaves classes behind whose source is gone.
    log.run(mvn(&parent).args(["-Dmaven.test.skip=true", "clean", "package"]))?;
    fs::create_dir_all(tree.packages())?;
    let name = |artefact: &str, ending: &str| format!("{artefact}-{}{ending}", maven::VERSION);
    fs::copy(parent.join("pom.xml"), tree.packages().join(name("remint-parent", ".pom")))?;
    for pom in files_below(&parent)? {
        let Some(artefact) = pom.strip_prefix(&parent)?.to_str().and_then(|path| path.strip_suffix("/pom.xml")) else {
            continue;
        };
        let target = parent.join(artefact).join("target");
        fs::copy(&pom, tree.packages().join(name(artefact, ".pom")))?;
        for ending in [".jar", "-sources.jar"] {
            let jar = name(artefact, ending);
            fs::copy(target.join(&jar), tree.packages().join(&jar)).with_context(|| format!("Maven made no {jar}"))?;
        }
    }
    stamp.set()
}

/// A folder that a `Package.swift` may depend on as it is.
fn swift_package(tree: &Tree, stamp: &Stamp<'_>) -> Result<Outcome> {
    let source = tree.root.join(uniffi::SWIFT);
    let package = tree.packages().join(SWIFT);
    for file in files_below(&source)? {
        let to = package.join(file.strip_prefix(&source)?);
        fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
        fs::copy(file, to)?;
    }
    for name in uniffi::LICENCES {
        fs::copy(tree.root.join(name), package.join(name))?;
    }
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
            Host::Kotlin => &[UNIFFI, &[uniffi::KOTLIN]].concat(),
            Host::Swift => &[UNIFFI, &[uniffi::SWIFT]].concat(),
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
        let files = if package.is_dir() { files_below(&package)? } else { vec![package.clone()] };
        let mut size = 0;
        for file in files {
            size += fs::metadata(file)?.len();
        }
        Ok(Outcome::Made(format!("{} ({} KB)", self.tree.show(&package), size.div_ceil(1024))))
    }

    fn remove(&self) -> Result<()> {
        let _ = fs::remove_file(self.path());
        for package in self.packages()? {
            if package.is_dir() { fs::remove_dir_all(package)? } else { fs::remove_file(package)? }
        }
        Ok(())
    }

    /// The one package of its kind; for Kotlin the one that the adapters' depend on.
    pub fn package(&self) -> Result<PathBuf> {
        if self.host == Host::Kotlin {
            let jar = self.tree.packages().join(format!("remint-{}.jar", maven::VERSION));
            ensure!(jar.exists(), "there is no {}", self.tree.show(&jar));
            return Ok(jar);
        }
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
        let endings: &[&str] = match self.host {
            Host::Rust => &[".crate"],
            Host::Node => &[".tgz"],
            Host::Python => &[".whl"],
            Host::Kotlin => &[".jar", ".pom"],
            Host::Swift => &[SWIFT],
        };
        let mut found = Vec::new();
        for ending in endings {
            found.extend(files(&self.tree.packages(), ending)?);
        }
        Ok(found)
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
/// The Swift package's folder.
pub const SWIFT: &str = "remint-swift";
/// What the library and its generated code are made from.
const UNIFFI: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "core",
    "bindings-uniffi/Cargo.toml",
    "bindings-uniffi/src",
    "bindings-uniffi/uniffi.toml",
    "xtask/src/uniffi.rs",
    "xtask/bindgen",
];
const PYTHON_TOOLS: [&str; 2] = ["maturin==1.16.0", "ziglang==0.15.2"];
