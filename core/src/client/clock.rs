//! Both clocks as this host reads them, and the ones that a test brings along.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::thread;

use crate::clock::Now;

/// Clocks of a test's own, in place of the system's. Not for production.
pub trait Clock: Send + Sync + 'static {
    /// Unix time in milliseconds.
    fn wall(&self) -> i64;

    /// Milliseconds of a clock that never goes back.
    fn boot(&self) -> i64;

    /// Lets the thread of a blocking call rest until it is unparked, or `limit` of this clock is over. Too short is legal:
    /// a clock that is set by hand may park for a moment only.
    fn park(&self, limit: Duration) {
        thread::park_timeout(limit);
    }
}

/// Where the time comes from.
#[derive(Clone)]
pub(crate) enum Time {
    System,
    Injected(Arc<dyn Clock>),
}

impl Time {
    pub(crate) fn now(&self) -> Now {
        match self {
            Self::System => system(),
            Self::Injected(clock) => Now { wall: clock.wall(), boot: clock.boot() },
        }
    }

    /// A number that stands for this moment, if one can be had at less than the price of both clocks: while it is the same,
    /// so are they.
    pub(crate) fn tick(&self) -> Option<i64> {
        match self {
            Self::System => system_tick(),
            Self::Injected(_) => None,
        }
    }

    pub(crate) fn park(&self, limit: Duration) {
        match self {
            Self::System => thread::park_timeout(limit),
            Self::Injected(clock) => clock.park(limit),
        }
    }

    /// How long it is until a point of the boot clock.
    pub(crate) fn until(&self, then: i64) -> Duration {
        Duration::from_millis(u64::try_from(then.saturating_sub(self.now().boot)).unwrap_or_default())
    }
}

/// A duration in whole milliseconds, rounded up.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// Unix time in its coarse form, a few milliseconds behind, and the clock that counts suspension.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn system() -> Now {
    use rustix::time::{ClockId, clock_gettime};

    let millis = |id| {
        let time = clock_gettime(id);
        time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
    };
    Now { wall: millis(ClockId::RealtimeCoarse), boot: millis(ClockId::Boottime) }
}

/// The kernel moves all coarse clocks on together, some hundred times a second. As long as this one shows the same
/// nanosecond, no clock has moved by more than one such step.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there is no such clock")]
fn system_tick() -> Option<i64> {
    use rustix::time::{ClockId, clock_gettime};

    let time = clock_gettime(ClockId::RealtimeCoarse);
    Some(time.tv_sec.wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn system() -> Now {
    use std::sync::LazyLock;
    use std::time::{Instant, SystemTime};

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let boot = START.elapsed().as_millis();
    Now { wall: i64::try_from(wall).unwrap_or(i64::MAX), boot: i64::try_from(boot).unwrap_or(i64::MAX) }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn system_tick() -> Option<i64> {
    None
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Injected(_) => "Injected",
        })
    }
}
