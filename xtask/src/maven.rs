//! Maven and what it builds: our jars, and the programs that use them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    cache::{digest, fingerprint},
    hosts::Host,
    install::is_marked,
    package::{file_name, files},
    progress::{Log, Outcome, Step},
    tree::Tree,
    uniffi,
};

/// Maven in a folder, as programs run it.
pub fn mvn(dir: &Path) -> Command {
    let mut command = Command::new("mvn");
    // The compiler's daemon would serve other checkouts too, and end with this one's build.
    command.current_dir(dir).args(["-B", "-ntp", "-Dstyle.color=never", "-Dkotlin.compiler.daemon=false"]);
    command
}

/// The jars' own tests, those of the adapters against the authority among them. It says how many there are.
pub fn verify(tree: &Tree, authority: &Path) -> Command {
    let mut command = mvn(&tree.root.join(uniffi::KOTLIN));
    command.arg(format!("-Dremint.authority={}", authority.display()));
    command
}

/// Puts the packed jars into the local Maven repository, where the programs in the checkout find them.
pub fn install(tree: &Tree, log: &mut Log) -> Result<Outcome> {
    let packages = tree.packages();
    let dir = tree.installed(Host::Kotlin);
    let wanted = packed(tree)?;
    // Another checkout, or a person, may have installed others since.
    let installed = local_repository()?.join(format!("remint/{VERSION}/remint-{VERSION}.jar"));
    let same = fs::read(&installed).ok() == fs::read(packages.join(format!("remint-{VERSION}.jar"))).ok();
    if !same || !is_marked(&dir, MARK, &wanted) {
        for pom in files(&packages, ".pom")? {
            let with = |ending: &str| packages.join(file_name(&pom).replace(".pom", ending));
            let mut command = mvn(&packages);
            command.arg(INSTALL_FILE).arg(format!("-DpomFile={}", pom.display()));
            if with(".jar").exists() {
                command.arg(format!("-Dfile={}", with(".jar").display()));
            } else {
                command.arg(format!("-Dfile={}", pom.display())).arg("-Dpackaging=pom");
            }
            if with("-sources.jar").exists() {
                command.arg(format!("-Dsources={}", with("-sources.jar").display()));
            }
            log.run(&mut command)?;
        }
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(MARK), wanted)?;
    }
    Ok(Outcome::Made(installed.display().to_string()))
}

/// Compiles one module of `tests/pom.xml`.
pub fn module_step<'a>(tree: &'a Tree, folder: &'static str) -> Step<'a> {
    Step::new(format!("build {folder}"), "", move |log| {
        let module = tree.root.join(folder);
        let target = module.join("target");
        let sources = fingerprint(&tree.root, &[folder, "tests/pom.xml"])?;
        let wanted = digest(&[sources, packed(tree)?]);
        if !is_marked(&target, MARK, &wanted) {
            if target.exists() {
                fs::remove_dir_all(&target)?;
            }
            log.run(mvn(&module).arg("package"))?;
            fs::write(target.join(MARK), wanted)?;
        }
        Ok(Outcome::Made(tree.show(&target)))
    })
}

/// A main class of a module that [`module_step`] compiled.
pub fn java(tree: &Tree, folder: &str, main: &str) -> Result<Command> {
    let mut command = Command::new("java");
    command.current_dir(&tree.root).arg("-cp").arg(classpath(tree, folder)?).arg(main);
    Ok(command)
}

pub fn classpath(tree: &Tree, folder: &str) -> Result<String> {
    let target = tree.root.join(folder).join("target");
    let list = target.join("classpath.txt");
    let libraries = fs::read_to_string(&list).with_context(|| format!("there is no {}", tree.show(&list)))?;
    Ok(format!("{}:{}", target.join("classes").display(), libraries.trim()))
}

/// A digest of all jars that users get.
fn packed(tree: &Tree) -> Result<String> {
    let mut names = [files(&tree.packages(), ".jar")?, files(&tree.packages(), ".pom")?].concat();
    ensure!(!names.is_empty(), "there is no jar; its packaging step failed");
    names.sort();
    let names: Vec<String> = names.iter().map(file_name).collect();
    fingerprint(&tree.packages(), &names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Where Maven keeps our artefacts unless its settings say otherwise.
fn local_repository() -> Result<PathBuf> {
    Ok(PathBuf::from(env::var_os("HOME").context("set HOME")?).join(".m2/repository/dev/remint"))
}

pub const VERSION: &str = env!("CARGO_PKG_VERSION");
const INSTALL_FILE: &str = "org.apache.maven.plugins:maven-install-plugin:3.2.0:install-file";
/// What was installed or compiled, written when it was.
const MARK: &str = ".made-from";
