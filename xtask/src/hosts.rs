//! The languages that the core is served in, and how a program of each is started against what users install.

use std::process::Command;

use anyhow::{Result, bail, ensure};

use crate::tree::Tree;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    Rust,
    Node,
    Python,
}

impl Host {
    pub const ALL: [Self; 3] = [Self::Rust, Self::Node, Self::Python];

    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Node => "node",
            Self::Python => "python",
        }
    }

    pub fn parse(text: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|host| host.name() == text) {
            Some(host) => Ok(host),
            None => bail!("no host `{text}`; there are rust, node and python"),
        }
    }

    /// The interpreter that sees the packed artefact installed as a user would install it.
    pub fn interpreter(self, tree: &Tree) -> Result<Command> {
        let installed = tree.installed(self);
        let mut command = match self {
            Self::Rust => bail!("Rust programs run through cargo"),
            Self::Node => Command::new("node"),
            Self::Python => Command::new(installed.join("bin/python")),
        };
        ensure!(
            installed.is_dir(),
            "the {} package isn't installed in {}; its packaging step failed",
            self.name(),
            installed.display()
        );
        command.current_dir(&tree.root);
        // A program that isn't in that project itself finds it here.
        command.env("REMINT_INSTALLED", &installed);
        Ok(command)
    }
}
