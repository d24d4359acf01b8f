//! Time as an argument: two clocks, both read by the host.

use serde::{Deserialize, Serialize};

/// What the host's two clocks showed when an event happened, in integer milliseconds.
///
/// Neither clock is enough alone. A wall clock is set back by people and NTP; a monotonic one may stand
/// still while a machine sleeps. A token is expired when *either* says so.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Now {
    /// Unix time in milliseconds.
    pub wall: i64,
    /// Milliseconds of a clock that never goes back, from any fixed point. It counts suspended time where
    /// the host has such a clock (`CLOCK_BOOTTIME`, `mach_continuous_time`).
    pub boot: i64,
}

impl Now {
    /// Both clocks moved on by `millis`, without overflow.
    #[must_use]
    pub const fn plus(self, millis: i64) -> Self {
        Self { wall: self.wall.saturating_add(millis), boot: self.boot.saturating_add(millis) }
    }

    /// How long it is until the sooner of the two points of `then` is reached; 0 or less when either clock has.
    #[must_use]
    pub fn until(self, then: Self) -> i64 {
        then.wall.saturating_sub(self.wall).min(then.boot.saturating_sub(self.boot))
    }
}

/// Thirty-two bytes that the host draws for every event.
///
/// The first four, big-endian over 2^32, are the draw that spreads pauses; the rest seed a SHA-256 counter
/// stream for `state`, verifiers and `jti`. The core has no randomness of its own.
pub type Entropy = [u8; 32];
