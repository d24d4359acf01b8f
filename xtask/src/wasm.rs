//! `bindings-wasm` compiled and put through wasm-bindgen.
//!
//! The wasm target needs a standard library. Where rustup can download one, that is the way. On Debian two packages
//! have a compiler and its sources, and cargo builds the library once (about a minute).

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    bindgen::WASM,
    cache::{Entry, lock},
    cli::Options,
    preflight::{Remedy, is_debian},
    process::output,
    progress::{Outcome, Step},
    tree::Tree,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    Debian,
    Rustup,
}

impl Toolchain {
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "debian" => Ok(Self::Debian),
            "rustup" => Ok(Self::Rustup),
            other => bail!("no wasm toolchain `{other}`; there are debian and rustup"),
        }
    }

    /// What was asked for; else a target that is there already; else what this machine can get.
    pub fn choose(options: &Options) -> Self {
        match options.wasm_toolchain {
            Some(toolchain) => toolchain,
            None if Self::Rustup.is_installed() || !is_debian() => Self::Rustup,
            None => Self::Debian,
        }
    }

    pub fn is_installed(self) -> bool {
        match self {
            Self::Debian => Path::new(DEBIAN_RUSTC).exists() && Path::new(DEBIAN_SOURCES).exists(),
            Self::Rustup => output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))
                .is_some_and(|dir| Path::new(&dir).exists()),
        }
    }

    pub fn remedy(self) -> Remedy {
        match self {
            Self::Debian if is_debian() => Remedy::Apt("rustc-web rust-web-src"),
            Self::Debian => Remedy::Person("this isn't Debian; use --wasm-toolchain rustup".to_owned()),
            Self::Rustup => Remedy::Command(&["rustup", "target", "add", TARGET]),
        }
    }

    /// Has cargo build the libraries from source, with short code rather than fast code in what sorts and prints.
    pub fn build_std(self, cargo: &mut Command, libraries: &str) {
        cargo
            .args([&format!("-Zbuild-std={libraries}"), "-Zbuild-std-features=optimize_for_size"])
            .env("RUSTC", self.rustc())
            .env("RUSTC_BOOTSTRAP", "1")
            // Debian's compiler must not load the libraries of rustup's.
            .env_remove("LD_LIBRARY_PATH");
    }

    /// A target folder in the user's cache: the standard library in it serves every checkout.
    pub fn cache(self, thing: &str) -> Result<Entry> {
        let version = output(Command::new(self.rustc()).arg("--version"))
            .with_context(|| format!("can't run `{} --version`", self.rustc()))?;
        let number = version.split(' ').nth(1).unwrap_or("unknown");
        Entry::new(thing, number, &[&version, self.rustc()])
    }

    fn rustc(self) -> &'static str {
        match self {
            Self::Debian => DEBIAN_RUSTC,
            Self::Rustup => "rustc",
        }
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debian => {
                write!(f, "a compiler and the standard library's sources, for wasm and small libraries (137 MB)")
            }
            Self::Rustup => write!(f, "{TARGET}: the target's standard library"),
        }
    }
}

/// From nothing to the glue in `out`, as `remint_native.js`, `remint_native.d.ts` and `remint_native_bg.wasm`.
pub fn steps<'a>(tree: &'a Tree, options: &Options, out: PathBuf) -> Result<Vec<Step<'a>>> {
    let toolchain = Toolchain::choose(options);
    let module = toolchain.cache("wasm-std")?;
    let generator = WASM.program(tree)?;
    let wasm = tree.root.join("target/wasm/remint_wasm.wasm");
    let input = wasm.clone();

    let dir = module.dir.display();
    let note = if module.is_ready() { format!("cached in {dir}") } else { format!("about 1 min, cached in {dir}") };
    Ok(vec![
        WASM.step(tree)?,
        Step::new("wasm std and module", note, move |log| {
            let built = module.dir.join(TARGET).join("release/remint_wasm.wasm");
            // Until it is copied, another checkout must not build its own in the same place.
            let lock = lock(&module.dir)?;
            fs::create_dir_all(&module.dir)?;
            log.run(&mut compile(tree, toolchain, &module.dir)?)?;
            fs::write(module.dir.join(".ready"), "")?;
            fs::create_dir_all(tree.root.join("target/wasm"))?;
            fs::copy(&built, &wasm).with_context(|| format!("there is no {}", built.display()))?;
            drop(lock);
            Ok(Outcome::Made(format!("{} KB", kilobytes(&wasm)?)))
        }),
        Step::new("wasm glue", "", move |log| {
            if out.exists() {
                fs::remove_dir_all(&out)?;
            }
            log.run(Command::new(&generator).arg(&input).arg(NAME).arg(&out))?;
            Ok(Outcome::Made(format!("{} KB in {}", kilobytes(&out.join(format!("{NAME}_bg.wasm")))?, tree.show(&out))))
        }),
    ])
}

fn compile(tree: &Tree, toolchain: Toolchain, target_dir: &Path) -> Result<Command> {
    let mut cargo = cargo(tree, toolchain, "std,panic_abort")?;
    cargo.args(["build", "--release", "--package", "remint-wasm"]);
    // What is shipped is read more often than it runs: a tenth less of it.
    cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "z");
    cargo.arg("--target-dir").arg(target_dir).env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", remap()?);
    Ok(cargo)
}

/// Compiles the core where there is no `std` to be found, not even by accident. (With rustup's target there is one.)
pub fn check_core_alone(tree: &Tree, options: &Options) -> Result<Command> {
    let mut cargo = cargo(tree, Toolchain::choose(options), "core,alloc")?;
    cargo.args(["check", "--package", "remint", "--no-default-features", "--target-dir"]);
    cargo.arg(tree.root.join("target/no-std"));
    Ok(cargo)
}

/// Cargo for the wasm target, which builds `libraries` from source where none are installed.
fn cargo(tree: &Tree, toolchain: Toolchain, libraries: &str) -> Result<Command> {
    let mut cargo = tree.cargo();
    cargo.env("CARGO_BUILD_TARGET", TARGET);
    if toolchain == Toolchain::Debian {
        toolchain.build_std(&mut cargo, libraries);
        cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", lld()?);
    }
    Ok(cargo)
}

/// Panic messages name source files: without the builder's home folder in them.
pub fn remap() -> Result<String> {
    let home = match env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(env::var_os("HOME").context("set HOME or CARGO_HOME")?).join(".cargo"),
    };
    Ok(format!("--remap-path-prefix={}=cargo", home.display()))
}

/// The linker that comes with rustup's compiler; Debian's has none.
fn lld() -> Result<PathBuf> {
    let sysroot =
        output(Command::new("rustc").args(["--print", "sysroot"])).context("can't run `rustc --print sysroot`")?;
    let verbose = output(Command::new("rustc").arg("-vV")).context("can't run `rustc -vV`")?;
    let host = verbose.lines().find_map(|line| line.strip_prefix("host: ")).context("`rustc -vV` names no host")?;
    let lld = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
    ensure!(lld.exists(), "no linker at {}; install Rust with rustup, which brings one", lld.display());
    Ok(lld)
}

fn kilobytes(path: &Path) -> Result<u64> {
    let size = fs::metadata(path).with_context(|| format!("there is no {}", path.display()))?.len();
    Ok(size.div_ceil(1024))
}

const TARGET: &str = "wasm32-unknown-unknown";
/// What the generated files are called.
const NAME: &str = "remint_native";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library";
