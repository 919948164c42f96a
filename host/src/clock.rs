//! The clock that deadlines are told by: `CLOCK_MONOTONIC`, in nanoseconds, as the ABI has them.

#![forbid(unsafe_code)]

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The time `after` from now.
pub(crate) fn monotonic_after(after: Duration) -> u64 {
    u64::try_from((now() + after).as_nanos()).unwrap_or(u64::MAX)
}

/// How long it is until `deadline`, such a time.
pub(crate) fn until_monotonic(deadline: u64) -> Duration {
    Duration::from_nanos(deadline).saturating_sub(now())
}

fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}
