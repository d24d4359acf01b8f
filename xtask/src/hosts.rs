//! The languages that the core is served in.

use anyhow::{Result, bail};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    Rust,
    Node,
    Python,
    Kotlin,
    Swift,
}

impl Host {
    pub const ALL: [Self; 5] = [Self::Rust, Self::Node, Self::Python, Self::Kotlin, Self::Swift];

    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Node => "node",
            Self::Python => "python",
            Self::Kotlin => "kotlin",
            Self::Swift => "swift",
        }
    }

    /// As people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Node => "Node",
            Self::Python => "Python",
            Self::Kotlin => "Kotlin",
            Self::Swift => "Swift",
        }
    }

    pub fn parse(text: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|host| host.name() == text) {
            Some(host) => Ok(host),
            None => bail!("no host `{text}`; there are rust, node, python, kotlin and swift"),
        }
    }
}
