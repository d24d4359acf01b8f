//! What a command needs from the machine: everything missing is listed at once, then installed if that is wanted.

use std::{
    env, fs,
    io::{IsTerminal, Write, stdin, stdout},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{cache, cli::Options, hosts::Host, process::output, swift, tree::Tree, wasm};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    CCompiler,
    /// Gigabytes in the user's cache.
    CacheDisk(u64),
    Debootstrap,
    /// Gigabytes below the checkout.
    Disk(u64),
    Jdk,
    /// clippy and rustfmt, which a minimal installation of Rust leaves out.
    Linters,
    Maven,
    /// Leave to mount folders and to change the root, which Debian's Swift takes.
    Mounts,
    Node,
    /// The database server, which a test starts in a folder of its own.
    Postgres,
    Python,
    /// The store of a fleet, which a test starts on ports of its own; with its `redis-cli`.
    Redis,
    /// A PKCS #11 token in software, in which tests keep keys.
    SoftHsm,
    WasmTarget(wasm::Toolchain),
}

impl Need {
    /// A small native library is built with its standard library where that can be had.
    fn sources() -> Option<Self> {
        is_debian().then_some(Self::WasmTarget(wasm::Toolchain::Debian))
    }

    /// What it takes to build and run one language's package.
    pub fn of(host: Host, options: &Options) -> Vec<Self> {
        match host {
            Host::Rust => vec![Self::CCompiler],
            Host::Node => vec![Self::CCompiler, Self::Node, Self::WasmTarget(wasm::Toolchain::choose(options))],
            Host::Python => vec![Self::CCompiler, Self::Python],
            Host::Kotlin => [Self::CCompiler, Self::Jdk, Self::Maven].into_iter().chain(Self::sources()).collect(),
            Host::Swift => [Self::CCompiler].into_iter().chain(Self::sources()).chain(swift::needs()).collect(),
        }
    }

    fn missing(self, tree: &Tree) -> Option<Missing> {
        let (what, remedy) = match self {
            Self::CCompiler => output(Command::new("cc").arg("--version"))
                .is_none()
                .then(|| ("a C compiler (`cc`)".to_owned(), apt_or("gcc libc6-dev", "install a C compiler")))?,
            Self::CacheDisk(gigabytes) => disk(&cache::base().ok()?, gigabytes)?,
            Self::Debootstrap => {
                let path = ["/usr/sbin/debootstrap", "/usr/bin/debootstrap", "/usr/local/sbin/debootstrap"];
                (!path.iter().any(|path| Path::new(path).exists())).then(|| {
                    let what = "debootstrap, which unpacks a Debian 13 with Swift 6 (about 2 min, 3 GB)".to_owned();
                    (what, apt_or("debootstrap debian-archive-keyring", SWIFT))
                })?
            }
            Self::Disk(gigabytes) => disk(&tree.root, gigabytes)?,
            Self::Jdk => {
                let found = output(Command::new("javac").arg("--version"));
                let major = found.as_deref().and_then(|version| {
                    version.trim_start_matches("javac ").split(['.', '-']).next()?.parse::<u32>().ok()
                });
                (major.is_none_or(|major| major < 17)).then(|| {
                    let found = found.map_or_else(|| "none found".to_owned(), |version| format!("found {version}"));
                    (
                        format!("a JDK, 17 or later ({found})"),
                        apt_or("default-jdk-headless", "install a JDK, 17 or later,"),
                    )
                })?
            }
            Self::Linters => {
                let found = ["clippy", "fmt"].map(|tool| output(tree.cargo().args([tool, "--version"])));
                let add = Remedy::Command(&["rustup", "component", "add", "clippy", "rustfmt"]);
                found.contains(&None).then(|| ("clippy and rustfmt".to_owned(), add))?
            }
            Self::Maven => output(Command::new("mvn").arg("--version")).is_none().then(|| {
                ("Maven (`mvn`), which gets Kotlin's compiler".to_owned(), apt_or("maven", "install Maven"))
            })?,
            Self::Mounts => output(Command::new("unshare").args(["--mount", "true"])).is_none().then(|| {
                (
                    "Swift 6, or leave to mount folders for Debian's".to_owned(),
                    Remedy::Person(SWIFT.to_owned() + ", or run this as root in a system that may mount"),
                )
            })?,
            Self::Node => {
                let found = output(Command::new("node").arg("--version"));
                let major = found
                    .as_deref()
                    .and_then(|version| version.trim_start_matches('v').split('.').next()?.parse::<u32>().ok());
                let npm = output(Command::new("npm").arg("--version")).is_some();
                (!npm || major.is_none_or(|major| major < 20)).then(|| {
                    let found = found.map_or_else(|| "none found".to_owned(), |version| format!("found {version}"));
                    // Debian 12 has Node 18, so apt-get is no help there.
                    let how = "install Node 20 or later with npm, from nodejs.org or with a version manager";
                    (
                        format!("Node 20 or later with npm ({found}{})", if npm { "" } else { ", no npm" }),
                        Remedy::Person(how.to_owned()),
                    )
                })?
            }
            Self::Postgres => {
                postgres().is_none().then(|| ("PostgreSQL".to_owned(), apt_or("postgresql", "install PostgreSQL")))?
            }
            Self::Python => {
                let complete = "import sys, venv, ensurepip; assert sys.version_info >= (3, 9)";
                output(Command::new("python3").args(["-c", complete])).is_none().then(|| {
                    (
                        "Python 3.9 or later with venv and pip".to_owned(),
                        apt_or("python3 python3-venv", "install Python 3.9 or later with venv"),
                    )
                })?
            }
            Self::Redis => {
                let found = ["redis-server", "redis-cli"].map(|tool| output(Command::new(tool).arg("--version")));
                let apt = apt_or("redis-server redis-tools", "install Redis 6.2 or later");
                found.contains(&None).then(|| ("Redis, 6.2 or later".to_owned(), apt))?
            }
            Self::SoftHsm => output(Command::new("softhsm2-util").arg("--version"))
                .is_none()
                .then(|| ("SoftHSM 2, a PKCS #11 token".to_owned(), apt_or("softhsm2", "install SoftHSM 2")))?,
            Self::WasmTarget(toolchain) => {
                (!toolchain.is_installed()).then(|| (toolchain.to_string(), toolchain.remedy()))?
            }
        };
        Some(Missing { what, remedy })
    }
}

/// How something gets onto the machine.
#[derive(Clone, Debug)]
pub enum Remedy {
    /// Debian packages, separated by spaces.
    Apt(&'static str),
    Command(&'static [&'static str]),
    /// Only a person can: a sentence that says what to do.
    Person(String),
}

#[derive(Debug)]
struct Missing {
    what: String,
    remedy: Remedy,
}

/// Makes sure of `needs`, or says everything that is missing.
pub fn run(tree: &Tree, options: &Options, needs: &[Need]) -> Result<()> {
    let mut unique: Vec<Need> = Vec::new();
    for need in needs {
        if !unique.contains(need) {
            unique.push(*need);
        }
    }
    let missing: Vec<Missing> = unique.iter().filter_map(|need| need.missing(tree)).collect();
    if missing.is_empty() {
        return Ok(());
    }

    println!("missing on this machine:");
    let mut apt = Vec::new();
    let mut commands: Vec<Vec<&str>> = Vec::new();
    let mut by_hand = false;
    for Missing { what, remedy } in &missing {
        match remedy {
            Remedy::Apt(packages) => {
                println!("  - {what}: Debian packages {packages}");
                apt.extend(packages.split(' '));
            }
            Remedy::Command(command) => {
                println!("  - {what}: {}", command.join(" "));
                commands.push(command.to_vec());
            }
            Remedy::Person(how) => {
                println!("  - {what}: {how}");
                by_hand = true;
            }
        }
    }
    ensure!(!by_hand, "install what is listed above, then run this again (`--hosts` leaves a language out)");

    if !apt.is_empty() {
        let as_root: &[&str] =
            if output(Command::new("id").arg("-u")).as_deref() == Some("0") { &[] } else { &["sudo"] };
        let install = ["apt-get", "install", "--yes", "--no-install-recommends"];
        commands.insert(0, as_root.iter().chain(&["apt-get", "update"]).copied().collect());
        commands.insert(1, as_root.iter().chain(&install).copied().chain(apt).collect());
    }
    println!("to install it:");
    for command in &commands {
        println!("  {}", command.join(" "));
    }
    ensure!(options.yes || agreed()?, "nothing was installed; run the above, or this again with --yes");
    for command in &commands {
        let Some((program, arguments)) = command.split_first() else { continue };
        // In the foreground, since `sudo` may ask for a password.
        let status = Command::new(program)
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status()
            .with_context(|| format!("can't start `{program}`"))?;
        // Stale lists may still do; what matters is whether the packages arrive.
        if !status.success() && !arguments.contains(&"update") {
            bail!("`{}` failed; see its output above", command.join(" "));
        }
    }
    for need in unique {
        if let Some(Missing { what, .. }) = need.missing(tree) {
            bail!("still missing after the installation: {what}");
        }
    }
    Ok(())
}

pub fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists() && output(Command::new("apt-get").arg("--version")).is_some()
}

fn apt_or(packages: &'static str, otherwise: &str) -> Remedy {
    if is_debian() {
        Remedy::Apt(packages)
    } else {
        Remedy::Person(format!("{otherwise} with your system's package manager"))
    }
}

fn agreed() -> Result<bool> {
    if !stdin().is_terminal() {
        return Ok(false);
    }
    print!("install now? [y/N] ");
    stdout().flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The folder with PostgreSQL's programs. Debian leaves them out of the path.
fn postgres() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|version| version.path().join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(versions).find(|folder| folder.join("initdb").exists())
}

/// What is missing where less is free.
fn disk(path: &Path, gigabytes: u64) -> Option<(String, Remedy)> {
    let free = free_gigabytes(path)?;
    let what = format!("disk: {free} GB free below {}, {gigabytes} GB needed", path.display());
    (free < gigabytes).then(|| (what, Remedy::Person("free some space".to_owned())))
}

/// `None` where `df` says something unexpected: a guess must not stop anybody.
fn free_gigabytes(path: &Path) -> Option<u64> {
    // The folder itself may not be there yet.
    let path = path.ancestors().find(|path| path.exists())?;
    let table = output(Command::new("df").arg("-Pk").arg(path))?;
    let kilobytes: u64 = table.lines().last()?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kilobytes / (1024 * 1024))
}

const SWIFT: &str = "install Swift 6 from swift.org/install";
