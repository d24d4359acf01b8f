//! `cargo xtask bench`: us and the peers, measured in one run by the programs in `tests/bench`.

use anyhow::Result;

use crate::{cli::Options, tree::Tree};

pub fn run(_tree: &Tree, _options: &Options) -> Result<bool> {
    anyhow::bail!("later")
}
