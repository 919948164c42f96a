//! Keeps a component extension that fails from being started over and over.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    boundary::call::{Failure, FailureKind},
    name::ProviderName,
};

/// Failures in a row after which calls have to wait.
const FREE: u32 = 3;
/// How long they wait the first time; twice as long each time after it.
const FIRST: Duration = Duration::from_millis(100);
/// How long they wait at most.
const LONGEST: Duration = Duration::from_secs(30);

/// Counts the failures of an extension's instances in a row.
pub(super) struct Supervisor {
    extension: ProviderName,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failures: u32,
    until: Option<Instant>,
    last: String,
}

impl Supervisor {
    pub(super) fn new(extension: &ProviderName) -> Self {
        Self { extension: extension.clone(), state: Mutex::default() }
    }

    /// Whether a call may be made now.
    ///
    /// # Errors
    ///
    /// [`Failure`] while the extension rests after failures.
    pub(super) fn admits(&self) -> Result<(), Failure> {
        self.admits_at(Instant::now())
    }

    fn admits_at(&self, now: Instant) -> Result<(), Failure> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.until.filter(|until| *until > now) {
            None => Ok(()),
            Some(until) => Err(Failure {
                kind: FailureKind::Unavailable,
                message: format!(
                    "instances of the extension `{}` failed {} times in a row, the last time for {}; it is started again in {:?}",
                    self.extension,
                    state.failures,
                    state.last,
                    until - now
                ),
            }),
        }
    }

    /// Notes that an instance has answered.
    pub(super) fn answered(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.failures > 0 {
            *state = State::default();
        }
    }

    /// Notes that an instance has failed.
    pub(super) fn failed(&self, why: &str) {
        self.failed_at(Instant::now(), why);
    }

    fn failed_at(&self, now: Instant, why: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        why.clone_into(&mut state.last);
        let Some(beyond) = state.failures.checked_sub(FREE) else { return };
        let rest = FIRST.saturating_mul(1 << beyond.min(16)).min(LONGEST);
        state.until = Some(now + rest);
        tracing::warn!(
            extension = %self.extension,
            failures = state.failures,
            "instances of the extension fail one after the other; it is not called for {rest:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_failures_in_a_row_it_rests_for_longer_each_time_and_an_answer_ends_that() {
        let supervisor = Supervisor::new(&"x".parse().unwrap());
        let now = Instant::now();
        for _ in 1..FREE {
            supervisor.failed_at(now, "a trap");
            assert_eq!(supervisor.admits_at(now), Ok(()));
        }
        for rest in [FIRST, 2 * FIRST, 4 * FIRST] {
            supervisor.failed_at(now, "a trap");
            let refused = supervisor.admits_at(now).unwrap_err();
            assert!(refused.message.contains("the last time for a trap"), "{refused}");
            let almost = now + rest - Duration::from_millis(1);
            assert!(supervisor.admits_at(almost).is_err(), "after less than {rest:?}");
            assert_eq!(supervisor.admits_at(now + rest), Ok(()));
        }
        for _ in 0..40 {
            supervisor.failed_at(now, "a trap");
        }
        assert_eq!(supervisor.admits_at(now + LONGEST), Ok(()));
        supervisor.answered();
        supervisor.failed_at(now, "a trap");
        assert_eq!(supervisor.admits_at(now), Ok(()));
    }
}
