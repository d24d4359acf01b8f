//! The simulator notices mistakes: every invariant has at least one that it catches, and catches soon.

use simulator::{Invariant, Mutant, Runner, is_open};

/// A mistake, the invariant that it breaks, and in how many schedules that must have come to light.
const MUTANTS: &[(Mutant, Invariant, u64)] = &[
    (Mutant::ServesExpired, Invariant::I1, 200),
    (Mutant::IgnoresHeld, Invariant::I2, 200),
    (Mutant::LocksNothing, Invariant::I3, 200),
    (Mutant::SavesNothing, Invariant::I4, 200),
    (Mutant::ServesWithdrawnLeases, Invariant::I5, 400),
    (Mutant::StripsExpect, Invariant::I6, 2_000),
    (Mutant::SharesLeases, Invariant::I7, 200),
    (Mutant::FailsWithItsCaller, Invariant::I8, 2_000),
    (Mutant::ForgetsFailures, Invariant::I9, 400),
    (Mutant::SkipsTheStore, Invariant::I10, 200),
    (Mutant::AsksAgainAndAgain, Invariant::I11, 200),
    (Mutant::WritesInTheClear, Invariant::I12, 200),
];

#[test]
fn every_mistake_is_noticed_by_the_invariant_that_it_breaks() {
    for (mutant, invariant, most) in MUTANTS {
        let mut runner = Runner::with(*mutant);
        let found = (0..*most).find_map(|seed| {
            let violation = runner.play(seed, false).violation?;
            let is_its_doing = violation.invariant == *invariant && holds(seed);
            is_its_doing.then_some((seed, violation.what))
        });
        match found {
            Some((seed, what)) => println!("{mutant:?}: {invariant:?} after {} schedules: {what}", seed + 1),
            None => panic!("{mutant:?} breaks {invariant:?}, and nobody noticed in {most} schedules"),
        }
    }
}

#[test]
fn every_invariant_has_a_mistake_that_breaks_it() {
    for invariant in Invariant::ALL.iter().filter(|invariant| **invariant != Invariant::Progress) {
        assert!(MUTANTS.iter().any(|(_, broken, _)| broken == invariant), "{invariant:?}");
    }
}

/// Whether the schedule holds without any mistake.
fn holds(seed: u64) -> bool {
    Runner::default().play(seed, false).violation.is_none()
}

#[test]
fn the_same_schedules_without_a_mistake_hold() {
    let mut runner = Runner::default();
    for seed in 0..2_000 {
        let violation = runner.play(seed, false).violation.filter(|violation| !is_open(seed, violation));
        assert!(violation.is_none(), "seed {seed}: {violation:?}");
    }
}
