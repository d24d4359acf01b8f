//! Schedules that are known not to hold yet, one a line: the seed and the invariant. They are counted and named, and anything
//! else that does not hold is a failure.

use crate::invariants::Violation;

const OPEN: &str = include_str!("../open.txt");

/// Whether a violation is among those that are known.
#[must_use]
pub fn is_open(seed: u64, violation: &Violation) -> bool {
    let invariant = format!("{:?}", violation.invariant);
    OPEN.lines()
        .any(|line| line.split_once(' ').is_some_and(|(number, name)| number.parse() == Ok(seed) && name == invariant))
}
