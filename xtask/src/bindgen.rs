//! The generators (`xtask/bindgen`): compiled once for each version, and kept in the user's cache.

use std::{fs, path::PathBuf};

use anyhow::{Result, ensure};

use crate::{
    cache::Entry,
    progress::{Outcome, Step},
    tree::Tree,
};

#[derive(Clone, Copy, Debug)]
pub struct Generator {
    /// Of the program, of the feature that it needs, and of its file.
    name: &'static str,
    /// The crate that does the work, and its version: that of the binding crate, since the two speak a private format.
    library: &'static str,
    version: &'static str,
    /// How long it takes to compile.
    time: &'static str,
}

pub const UNIFFI: Generator = Generator { name: "uniffi", library: "uniffi", version: "0.32.2", time: "2 min" };
pub const WASM: Generator =
    Generator { name: "wasm", library: "wasm-bindgen-cli-support", version: "0.2.130", time: "1 min" };

impl Generator {
    pub fn step(self, tree: &Tree) -> Result<Step<'_>> {
        let entry = self.entry(tree)?;
        let dir = entry.dir.display();
        let note =
            if entry.is_ready() { format!("cached in {dir}") } else { format!("about {}, cached in {dir}", self.time) };
        Ok(Step::new(format!("{} generator", self.name), note, move |log| {
            entry.ensure(log, |log, dir| {
                let target = dir.join("target");
                // Debug information would double the time, and nobody debugs it.
                log.run(
                    tree.cargo()
                        .args(["build", "--package", "xtask-bindgen", "--config", "profile.dev.debug=false"])
                        .args(["--features", self.name, "--bin", self.name, "--target-dir"])
                        .arg(&target),
                )?;
                fs::rename(target.join("debug").join(self.name), dir.join(self.name))?;
                Ok(fs::remove_dir_all(target)?)
            })?;
            Ok(Outcome::Made(format!("{} {} ready", self.library, self.version)))
        }))
    }

    pub fn program(self, tree: &Tree) -> Result<PathBuf> {
        Ok(self.entry(tree)?.dir.join(self.name))
    }

    fn entry(self, tree: &Tree) -> Result<Entry> {
        let folder = tree.root.join("xtask/bindgen");
        let manifest = fs::read_to_string(folder.join("Cargo.toml"))?;
        let source = fs::read_to_string(folder.join("src/bin").join(self.name).with_extension("rs"))?;
        let pinned = manifest.lines().any(|line| {
            line.starts_with(&format!("{} = ", self.library)) && line.contains(&format!("\"={}\"", self.version))
        });
        ensure!(pinned, "xtask/bindgen must depend on {} ={}", self.library, self.version);
        Entry::new(&format!("{}-bindgen", self.name), self.version, &[&source, &manifest])
    }
}
