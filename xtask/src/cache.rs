//! The user's cache folder: what takes minutes to make and outlives a checkout, one folder per version and inputs.

use std::{
    env,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::progress::Log;

/// A folder of the cache, named after all that decides what is in it.
#[derive(Debug)]
pub struct Entry {
    pub dir: PathBuf,
}

impl Entry {
    /// `inputs` is everything besides the version that would make another result.
    pub fn new(thing: &str, version: &str, inputs: &[&str]) -> Result<Self> {
        Ok(Self { dir: base()?.join(format!("{thing}-{version}-{}", digest(inputs))) })
    }

    pub fn is_ready(&self) -> bool {
        self.marker().exists()
    }

    /// Makes it with `make` unless it is there; two xtasks don't make the same one at once.
    pub fn ensure(&self, log: &mut Log, make: impl FnOnce(&mut Log, &Path) -> Result<()>) -> Result<()> {
        let _lock = lock(&self.dir)?;
        if self.is_ready() {
            return Ok(());
        }
        // A half-made one is of no use, and a virtual environment can't be moved into place.
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        fs::create_dir_all(&self.dir)?;
        make(log, &self.dir)?;
        fs::write(self.marker(), "")?;
        Ok(())
    }

    fn marker(&self) -> PathBuf {
        self.dir.join(".ready")
    }
}

/// Where all entries are.
pub fn base() -> Result<PathBuf> {
    let caches = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(env::var_os("HOME").context("set HOME or XDG_CACHE_HOME")?).join(".cache"),
    };
    Ok(caches.join("remint"))
}

/// Held until dropped, by one process at a time.
pub fn lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("can't create {}", parent.display()))?;
    }
    let file = File::create(&path).with_context(|| format!("can't write {}", path.display()))?;
    if file.try_lock().is_err() {
        println!("      another cargo xtask is at it; waiting");
        file.lock()?;
    }
    Ok(file)
}

/// A short name for what a value holds.
pub fn digest(value: &(impl Hash + ?Sized)) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{:08x}", hasher.finish() >> 32)
}

/// A digest of every file below `paths`, to tell whether something has to be made again.
pub fn fingerprint(root: &Path, paths: &[&str]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        hash(&root.join(path), &mut hasher)?;
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn hash(path: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    let context = || format!("can't read {}", path.display());
    if path.is_dir() {
        for entry in entries(path)? {
            if !name(&entry).is_some_and(|name| GENERATED.contains(&name) || name.ends_with(".so")) {
                hash(&entry, hasher)?;
            }
        }
    } else {
        path.hash(hasher);
        fs::read(path).with_context(context)?.hash(hasher);
    }
    Ok(())
}

/// Every file below a folder, without what the builds of it leave behind.
pub fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in entries(folder)? {
        if entry.is_dir() { files.extend(files_below(&entry)?) } else { files.push(entry) }
    }
    Ok(files)
}

/// In an order that is always the same.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))? {
        entries.push(entry?.path());
    }
    entries.retain(|entry| !name(entry).is_some_and(|name| BUILDS.contains(&name)));
    entries.sort();
    Ok(entries)
}

fn name(path: &Path) -> Option<&str> {
    path.file_name().and_then(|name| name.to_str())
}

/// Folders that builds fill.
const BUILDS: [&str; 8] =
    ["build", ".build", "dist", "node_modules", "target", "__pycache__", ".venv", ".pytest_cache"];
/// What is written among the sources of a package, and follows from the rest.
const GENERATED: [&str; 5] = ["generated", "CRemint.h", "RemintCore.swift", "libremint_ffi.a", "remint.pc"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_other_inputs_is_another_one() {
        let name = |version: &str, inputs: &[&str]| Entry::new("thing", version, inputs).unwrap().dir;
        assert_eq!(name("1.0", &["a"]), name("1.0", &["a"]));
        assert_ne!(name("1.0", &["a"]), name("1.0", &["b"]));
        assert_ne!(name("1.0", &["a", "b"]), name("1.0", &["ab"]));
        assert_ne!(name("1.0", &["a"]), name("1.1", &["a"]));
    }

    #[test]
    fn a_fingerprint_follows_sources_and_ignores_what_is_made_from_them() {
        let root = env::temp_dir().join(format!("remint-fingerprint-{}", std::process::id()));
        fs::create_dir_all(root.join("src/node_modules")).unwrap();
        fs::write(root.join("src/a"), "1").unwrap();
        let first = fingerprint(&root, &["src"]).unwrap();
        fs::write(root.join("src/node_modules/b"), "1").unwrap();
        assert_eq!(fingerprint(&root, &["src"]).unwrap(), first);
        fs::write(root.join("src/a"), "2").unwrap();
        assert_ne!(fingerprint(&root, &["src"]).unwrap(), first);
        fs::remove_dir_all(root).unwrap();
    }
}
