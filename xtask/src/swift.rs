//! Swift: the one on this machine, or Debian's in a folder of its own.
//!
//! Where there is no Swift 6, Debian 13 with its compiler is unpacked into the cache. What it builds needs that system's
//! libraries, so programs run in there too: at the same paths, in mounts of their own that end with them.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    cache::{Entry, fingerprint},
    hosts::Host,
    install::is_marked,
    package,
    preflight::Need,
    process::output,
    progress::{Log, Outcome, Step},
    tree::Tree,
    uniffi,
};

/// What compiling and running Swift takes.
pub fn needs() -> Vec<Need> {
    let ready = is_installed() || entry().is_ok_and(|entry| entry.is_ready());
    let mut needs = if is_installed() { Vec::new() } else { vec![Need::Mounts] };
    if !ready {
        needs.extend([Need::Debootstrap, Need::CacheDisk(5)]);
    }
    needs
}

/// The step after which [`command`] works.
pub fn step(tree: &Tree) -> Result<Step<'_>> {
    if is_installed() {
        return Ok(Step::new("Swift", "the one on the path", move |log| launch(tree, log, INSTALLED)));
    }
    let entry = entry()?;
    let dir = entry.dir.display();
    let note = if entry.is_ready() {
        format!("cached in {dir}")
    } else {
        format!("Debian 13 with its Swift: about 2 min, 3 GB, cached in {dir}")
    };
    Ok(Step::new(format!("Swift {VERSION}"), note, move |log| {
        entry.ensure(log, |log, dir| {
            let root = dir.join("root");
            let mut command = Command::new("unshare");
            // It mounts things, and an interrupted one forgets them.
            command.args(["--mount", "--propagation", "private", "debootstrap", "--variant=minbase"]);
            command.arg(format!("--include={PACKAGES}")).arg(SUITE).arg(&root).env("PATH", path()?);
            log.run(&mut command)?;
            for file in package::files(&root.join("var/cache/apt/archives"), ".deb")? {
                fs::remove_file(file)?;
            }
            Ok(())
        })?;
        launch(tree, log, &script(tree, &entry.dir.join("root"))?)
    }))
}

/// A program of the toolchain, or one that it built, in the checkout.
pub fn command(tree: &Tree, program: impl AsRef<Path>) -> Result<Command> {
    let launcher = launcher(tree);
    ensure!(launcher.exists(), "there is no {}; the step that gets Swift failed", tree.show(&launcher));
    let mut command = Command::new(launcher);
    command.current_dir(&tree.root).arg(program.as_ref());
    Ok(command)
}

/// The package's own tests.
pub fn test(tree: &Tree) -> Result<Command> {
    let source = tree.root.join(uniffi::SWIFT);
    let mut swift = command(tree, "swift")?;
    swift.args(["test", "--package-path"]).arg(&source).env("PKG_CONFIG_PATH", source.join("lib"));
    swift.arg("--scratch-path").arg(scratch(tree, uniffi::SWIFT));
    Ok(swift)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configuration {
    Debug,
    Release,
}

impl Configuration {
    fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

/// Builds one program of the Swift package in `folder`. The others in it may be broken.
pub fn build_step<'a>(
    tree: &'a Tree,
    folder: &'static str,
    product: &'static str,
    configuration: Configuration,
) -> Step<'a> {
    Step::new(format!("build {product}"), "", move |log| {
        build(tree, log, folder, product, configuration)?;
        Ok(Outcome::Made(tree.show(&executable(tree, folder, product, configuration))))
    })
}

/// Where [`build_step`] leaves its program.
pub fn executable(tree: &Tree, folder: &str, product: &str, configuration: Configuration) -> PathBuf {
    scratch(tree, folder).join(configuration.name()).join(product)
}

fn build(tree: &Tree, log: &mut Log, folder: &str, product: &str, configuration: Configuration) -> Result<()> {
    let scratch = scratch(tree, folder);
    // The linker reads the library, but SwiftPM doesn't know of it.
    let library = fingerprint(&tree.packages(), &[&format!("{}/lib/libremint_ffi.a", package::SWIFT)])?;
    if !is_marked(&scratch, MARK, &library) && scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    fs::create_dir_all(&scratch)?;
    fs::write(scratch.join(MARK), library)?;
    let mut swift = command(tree, "swift")?;
    swift.arg("build").arg("--package-path").arg(tree.root.join(folder)).arg("--scratch-path").arg(&scratch);
    log.run(swift.args(["--configuration", configuration.name(), "--product", product]))
}

fn scratch(tree: &Tree, folder: &str) -> PathBuf {
    tree.root.join("target/swift").join(folder)
}

/// Writes the launcher, and tries it.
fn launch(tree: &Tree, log: &mut Log, script: &str) -> Result<Outcome> {
    let launcher = launcher(tree);
    fs::create_dir_all(tree.installed(Host::Swift))?;
    let library = quoted(&tree.packages().join(package::SWIFT).join("lib"))?;
    fs::write(&launcher, script.replace("@LIBRARY@", &library))?;
    fs::set_permissions(&launcher, fs::Permissions::from_mode(0o755))?;
    let text = log.read(command(tree, "swift")?.arg("--version"))?;
    let line = text.lines().find(|line| line.contains("Swift version")).context("`swift --version` says no version")?;
    Ok(Outcome::Made(line.trim().to_owned()))
}

/// Whether the machine has a Swift that will do.
fn is_installed() -> bool {
    let version = output(Command::new("swift").arg("--version")).unwrap_or_default();
    let major = version.split("Swift version ").nth(1).and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    major.is_some_and(|major| major >= 6)
}

fn entry() -> Result<Entry> {
    Entry::new("swift", VERSION, &[SUITE, PACKAGES])
}

/// The program that runs another one where Swift is; those that test in other languages start ours by it.
pub fn launcher(tree: &Tree) -> PathBuf {
    tree.installed(Host::Swift).join("run")
}

fn script(tree: &Tree, root: &Path) -> Result<String> {
    let mut visible = vec![tree.root.clone(), env::temp_dir()];
    if !tree.cargo_target.starts_with(&tree.root) {
        visible.push(tree.cargo_target.clone());
    }
    let paths = visible.iter().map(|path| quoted(path)).collect::<Result<Vec<_>>>()?.join(" ");
    Ok(LAUNCHER.replace("@ROOT@", &quoted(root)?).replace("@VISIBLE@", &paths))
}

/// As a shell takes it for one word.
pub fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("{} isn't UTF-8", path.display()))?;
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

/// With the folders of programs for the administrator, which a root shell may lack.
fn path() -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]))?)
}

const VERSION: &str = "6.0.3";
const SUITE: &str = "trixie";
const PACKAGES: &str = "swiftlang,libswiftlang,libc6-dev,libstdc++-14-dev";
/// The library that the programs below were linked with.
const MARK: &str = ".library";
const INSTALLED: &str = "\
#!/bin/sh -e
# Runs a command where Swift is: here. `cargo xtask` wrote it.
PKG_CONFIG_PATH=${PKG_CONFIG_PATH-@LIBRARY@}
export PKG_CONFIG_PATH
exec \"$@\"
";
const LAUNCHER: &str = r#"#!/bin/sh -e
# Runs a command in this folder with Debian's Swift, at the same paths as outside. `cargo xtask` wrote it.
if [ "$1" != --mounted ]; then
  exec unshare --mount --propagation private "$0" --mounted "$@"
fi
shift
root=@ROOT@
for path in @VISIBLE@; do
  mkdir -p "$root$path"
  mount --rbind "$path" "$root$path"
done
for file in /etc/hosts /etc/resolv.conf; do
  [ ! -e "$file" ] || { touch "$root$file"; mount --bind "$file" "$root$file"; }
done
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
PATH=$PATH:/usr/sbin:/sbin HOME=/root PKG_CONFIG_PATH=${PKG_CONFIG_PATH-@LIBRARY@}
export PATH HOME PKG_CONFIG_PATH
# What rustup sets for its own programs.
unset LD_LIBRARY_PATH
exec chroot "$root" env --chdir="$PWD" "$@"
"#;
