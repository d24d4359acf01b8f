//! Where things are: the checkout, its target folder, the user's cache.

use std::{
    env,
    path::{Path, PathBuf, absolute},
    process::Command,
};

use anyhow::{Context, Result};

use crate::hosts::Host;

#[derive(Debug)]
pub struct Tree {
    pub root: PathBuf,
    /// Cargo's target folder; what xtask leaves for people is in `target/` whatever cargo was told.
    pub cargo_target: PathBuf,
}

impl Tree {
    pub fn find() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root =
            Path::new(&manifest).parent().context("xtask must stay in the folder below the workspace's")?.to_path_buf();
        let cargo_target = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => absolute(dir)?,
            None => root.join("target"),
        };
        Ok(Self { root, cargo_target })
    }

    pub fn packages(&self) -> PathBuf {
        self.root.join("target/packages")
    }

    /// The project or environment of a user who installed the packed artefact of this language.
    pub fn installed(&self, host: Host) -> PathBuf {
        self.root.join("target/installed").join(host.name())
    }

    pub fn logs(&self, command: &str) -> PathBuf {
        self.root.join("target/logs").join(command)
    }

    /// A path as a person would write it: from the checkout.
    pub fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// Cargo in the checkout, as a person would call it.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root);
        // What `cargo run` told xtask about itself would make build scripts run again in the next plain `cargo`.
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                command.env_remove(name.as_ref());
            }
        }
        command
    }
}
