//! Seeds that once found something, and what that was.

use simulator::Runner;

const FOUND: &[(&str, &[u64])] = &[
    (
        "a wrong date brought the process's own expired token back out of the record",
        &[29, 130, 161, 166, 226, 311, 339, 409],
    ),
    ("a refused refresh token was sent again before its pause was over", &[9, 50, 137, 165, 187]),
    ("who joined a flight that waits for a lock was told that the server wants a pause", &[15, 80, 81, 259, 278]),
    ("a refresh token that had just arrived was overwritten by the store's older one", &[57, 176, 224]),
    ("a rejected token that was replaced at once was not known to be rejected", &[1160, 1747]),
    ("a process without a refresh token kept others from using theirs", &[433, 3105]),
    ("a failure that a clock ahead of all others had dated was heeded for an hour", &[60]),
    ("a refresh token of unknown fate was sent a third time", &[204, 329, 1001, 1029]),
    ("a rejection waited for a lock, and a token in hand was served without a look at the store", &[500]),
    ("a server gave the same token again, and it was handed to one who wanted more life", &[1919, 1956, 2127]),
    ("a lease outlived its token after a clock that had jumped was set right", &[927_827]),
    ("the answer to a save was lost, and a replaced refresh token came back over a later one", &[6_701_168]),
    ("a note took away what another process was about to send", &[1_996_017, 3_223_957]),
    ("the pause after a refusal got shorter when the store was down", &[2_351_697, 3_068_102]),
    ("a refusal made the other scopes forget how often they had failed in passing", &[8_201_770]),
    ("a token from before the invalidated one went on in another process", &[1_537_544, 1_625_467, 4_740_607]),
    ("an invalidation did not mean the fleet's token, because another was in hand", &[3_855_404]),
    ("after a look, who wanted more life was given the same token again", &[2_861_142]),
    ("the lease of an older token outlived one that somebody had insisted on", &[1_208_859, 1_821_379]),
    ("a child ended its parent's overdue operation, and gave the parent's lock back", &[9_443_929]),
    ("the model's shell kept a lease that was given during a flight when that was over", &[9_125_949]),
];

#[test]
fn what_was_found_once_is_not_found_again() {
    let mut runner = Runner::default();
    for (what, seeds) in FOUND {
        for seed in *seeds {
            let violation = runner.play(*seed, false).violation;
            assert!(violation.is_none(), "seed {seed} ({what}): {violation:?}");
        }
    }
}

#[test]
fn a_seed_gives_the_same_schedule_every_time() {
    for seed in 0..20 {
        let (first, second) = (Runner::default().play(seed, true), Runner::default().play(seed, true));
        assert!(first.events > 10 && !first.trace.is_empty());
        assert_eq!((first.events, first.trace), (second.events, second.trace));
    }
}
