//! Deadlines, which cross the ABI as a reading of the monotonic clock.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The time left until `deadline`, in nanoseconds of `CLOCK_MONOTONIC`; none for 0, which is never.
pub(crate) fn left(deadline: u64) -> Option<Duration> {
    (deadline != 0).then(|| Duration::from_nanos(deadline.saturating_sub(now())))
}

/// The clock's reading, in nanoseconds.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}
