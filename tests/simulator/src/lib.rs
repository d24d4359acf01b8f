//! A deterministic simulator: the real core in a model of everything around it, and what must hold whatever happens.
#![expect(
    clippy::indexing_slicing,
    reason = "indices are the model's own: a wrong one is a broken model, and must stop it"
)]

mod authority;
mod dice;
mod explore;
mod invariants;
mod mutant;
mod open;
mod plan;
mod process;
mod schedule;
mod sealed;
mod setting;
mod store;
mod world;

pub use explore::{Explored, STORIES, Story, explore};
pub use invariants::{Invariant, Violation};
pub use mutant::Mutant;
pub use open::is_open;
pub use schedule::{Outcome, Runner};
