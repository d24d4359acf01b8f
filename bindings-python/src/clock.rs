//! Both clocks, as the hot path and the shell read them.

use pyo3::prelude::*;
use remint::clock::Now;

/// Unix time, and a clock that never goes back: milliseconds.
#[pyfunction]
pub(crate) fn now() -> (i64, i64) {
    let now = read_host();
    (now.wall, now.boot)
}

/// What `clock` shows, or the host's clocks where a caller brought none of their own.
pub(crate) fn read(clock: Option<&Bound<'_, PyAny>>) -> PyResult<Now> {
    let Some(clock) = clock else { return Ok(read_host()) };
    let show = |name: &str| clock.call_method0(name)?.extract();
    Ok(Now { wall: show("wall")?, boot: show("boot")? })
}

/// The wall clock in its coarse form (a few milliseconds, at a quarter of the price), and the clock that counts suspension.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn read_host() -> Now {
    use rustix::time::{ClockId, clock_gettime};

    let millis = |id| {
        let time = clock_gettime(id);
        time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
    };
    Now { wall: millis(ClockId::RealtimeCoarse), boot: millis(ClockId::Boottime) }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn read_host() -> Now {
    use std::sync::LazyLock;
    use std::time::{Instant, SystemTime};

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let boot = START.elapsed().as_millis();
    Now { wall: i64::try_from(wall).unwrap_or(i64::MAX), boot: i64::try_from(boot).unwrap_or(i64::MAX) }
}
