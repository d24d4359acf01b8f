//! An empty project per language with the packed artefact in it, as a user would have: here tests, examples and the
//! demo run. A folder with programs that need more says so in a `package-lock.json` or a `requirements.txt`.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    cache::{digest, fingerprint},
    cli::Options,
    hosts::Host,
    maven,
    package::{self, Stamp},
    progress::{Log, Outcome, Step},
    swift,
    tree::Tree,
};

/// The steps after which [`interpreter`] works for programs without further needs.
pub fn steps<'a>(tree: &'a Tree, options: &Options, host: Host) -> Result<Vec<Step<'a>>> {
    if host == Host::Rust {
        return Ok(Vec::new());
    }
    let mut steps = package::steps(tree, options, host)?;
    if host == Host::Swift {
        steps.push(swift::step(tree)?);
        return Ok(steps);
    }
    steps.push(Step::new(format!("install for {}", host.name()), "", move |log| match host {
        Host::Rust | Host::Swift => bail!("nothing is installed for {}", host.name()),
        Host::Node => node_project(tree, log),
        Host::Python => environment(tree, log, &tree.installed(host), None),
        Host::Kotlin => maven::install(tree, log),
    }));
    Ok(steps)
}

/// The steps for what the programs in `folder` need beside our own package.
pub fn folder_steps<'a>(tree: &'a Tree, host: Host, folder: &'static str) -> Vec<Step<'a>> {
    let Some(list) = requirements(tree, host, folder) else {
        return Vec::new();
    };
    vec![Step::new(format!("install {folder}"), "about 1 min the first time", move |log| match host {
        Host::Rust | Host::Kotlin | Host::Swift => bail!("its own build installs what {folder} needs"),
        Host::Node => {
            npm_ci(log, &tree.root.join(folder))?;
            Ok(Outcome::Made(tree.show(&list)))
        }
        Host::Python => environment(tree, log, &environment_dir(tree, &list)?, Some(&list)),
    })]
}

/// Node or Python as the programs in `folder` are to be run: in the checkout, with the packed artefact installed.
pub fn interpreter(tree: &Tree, host: Host, folder: &str) -> Result<Command> {
    let installed = match requirements(tree, host, folder) {
        Some(list) if host == Host::Python => environment_dir(tree, &list)?,
        _ => tree.installed(host),
    };
    ensure!(installed.join(MARK).exists(), "nothing is installed in {}; that step failed", tree.show(&installed));
    let mut command = match host {
        Host::Rust | Host::Kotlin | Host::Swift => bail!("{} is compiled", host.name()),
        Host::Node => Command::new("node"),
        Host::Python => Command::new(installed.join("bin/python")),
    };
    command.current_dir(&tree.root);
    Ok(command)
}

pub fn npm(dir: &Path) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(dir);
    for quiet in ["audit", "fund", "update_notifier"] {
        command.env(format!("npm_config_{quiet}"), "false");
    }
    command
}

/// `npm ci` starts from nothing each time: needed only when what it would install has changed.
pub fn npm_ci(log: &mut Log, dir: &Path) -> Result<()> {
    let wanted = fingerprint(dir, &["package-lock.json"])?;
    if !is_marked(&dir.join("node_modules"), MARK, &wanted) {
        log.run(npm(dir).args(["ci", "--prefer-offline"]))?;
        fs::create_dir_all(dir.join("node_modules"))?;
        fs::write(dir.join("node_modules").join(MARK), wanted)?;
    }
    Ok(())
}

pub fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    command
}

fn node_project(tree: &Tree, log: &mut Log) -> Result<Outcome> {
    let dir = tree.installed(Host::Node);
    let package = packed(tree, Host::Node)?;
    let wanted = fingerprint(&tree.packages(), &[&package::file_name(&package)])?;
    if !is_marked(&dir, MARK, &wanted) {
        emptied(&dir)?;
        fs::write(dir.join("package.json"), "{ \"private\": true }\n")?;
        log.run(npm(&dir).args(["install", "--no-package-lock"]).arg(&package))?;
        fs::write(dir.join(MARK), wanted)?;
    }
    // Node looks for a package beside a program and above it, so every program in the checkout finds this one.
    let link = tree.root.join("node_modules/remint");
    if !link.exists() {
        fs::create_dir_all(tree.root.join("node_modules"))?;
        let _ = fs::remove_file(&link);
        symlink(dir.join("node_modules/remint"), link)?;
    }
    Ok(Outcome::Made(tree.show(&dir)))
}

/// A virtual environment with the wheel and what `list` names. Another wheel doesn't cost the rest of it.
fn environment(tree: &Tree, log: &mut Log, dir: &Path, list: Option<&PathBuf>) -> Result<Outcome> {
    let package = packed(tree, Host::Python)?;
    let wanted = fingerprint(&tree.packages(), &[&package::file_name(&package)])?;
    let python = dir.join("bin/python");
    let base = list.map(fs::read_to_string).transpose()?.unwrap_or_default();
    if !is_marked(dir, BASE_MARK, &base) {
        emptied(dir)?;
        log.run(Command::new("python3").args(["-m", "venv"]).arg(dir))?;
        if let Some(list) = list {
            log.run(pip(&python).arg("--requirement").arg(list))?;
        }
        fs::write(dir.join(BASE_MARK), base)?;
    }
    if !is_marked(dir, MARK, &wanted) {
        log.run(pip(&python).args(["--force-reinstall", "--no-index", "--no-deps"]).arg(&package))?;
        fs::write(dir.join(MARK), wanted)?;
    }
    Ok(Outcome::Made(tree.show(dir)))
}

/// Whether `dir` was filled from the same as now.
pub fn is_marked(dir: &Path, mark: &str, wanted: &str) -> bool {
    fs::read_to_string(dir.join(mark)).is_ok_and(|found| found == wanted)
}

fn emptied(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    Ok(fs::create_dir_all(dir)?)
}

fn packed(tree: &Tree, host: Host) -> Result<PathBuf> {
    Stamp::new(tree, host)?.package().context("nothing to install; its packaging step failed")
}

fn requirements(tree: &Tree, host: Host, folder: &str) -> Option<PathBuf> {
    let name = match host {
        Host::Rust | Host::Kotlin | Host::Swift => return None,
        Host::Node => "package-lock.json",
        Host::Python => "requirements.txt",
    };
    let list = tree.root.join(folder).join(name);
    (!folder.is_empty() && list.exists()).then_some(list)
}

/// Folders that want the same share an environment.
fn environment_dir(tree: &Tree, list: &Path) -> Result<PathBuf> {
    let name = format!("python-{}", digest(&fs::read_to_string(list)?));
    Ok(tree.installed(Host::Python).with_file_name(name))
}

/// Written last, so that what was interrupted doesn't count as done.
const MARK: &str = ".installed";
const BASE_MARK: &str = ".base";
