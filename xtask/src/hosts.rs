//! The languages that the core is served in.

use anyhow::{Result, bail};

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
}
