//! Whether the host is alive and ready, and if not, why.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    boundary::names::Names,
    watch::{failures, unreachable},
};

/// How long a provider counts as failing after a failure.
const MEMORY: Duration = Duration::from_secs(60);

/// The host's health. A clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Since when no thread of the host has taken work, if that is too long ago.
    stalled: Option<Instant>,
    blocked: Vec<Blocked>,
}

/// Where the host is between its start and its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Starting,
    Serving,
    Draining,
}

/// A call that holds a thread of the host for too long.
#[derive(Debug, Clone)]
pub(super) struct Blocked {
    /// Since when, as far as is known.
    pub(super) since: Instant,
    /// The function; none if its link is gone.
    pub(super) names: Option<Arc<Names>>,
}

/// What is answered to who asks, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// In a word: `ok` or `stalled`; `ready`, `degraded` or `not ready`.
    pub status: &'static str,
    /// What is wrong, the gravest first.
    pub reasons: Vec<Reason>,
    /// Whether the answer is yes.
    #[serde(skip)]
    pub is_good: bool,
}

/// A thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// In a word, for programs: `starting`, `draining`, `stalled`, `blocked`,
    /// `unreachable` or `provider`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Health {
    /// The health of a host that starts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that requests are taken. One that drains already is not ready any more.
    pub fn serving(&self) {
        let mut state = self.state();
        if state.phase == Phase::Starting {
            state.phase = Phase::Serving;
        }
    }

    /// Says that the host was asked to stop.
    pub fn draining(&self) {
        self.state().phase = Phase::Draining;
    }

    /// What the watchdog has seen.
    pub(super) fn watched(&self, stalled: Option<Instant>, blocked: Vec<Blocked>) {
        let mut state = self.state();
        state.stalled = stalled;
        state.blocked = blocked;
    }

    /// Whether the process makes progress, so that nothing would be gained by starting it again.
    pub fn live(&self, now: Instant) -> Verdict {
        let state = self.state();
        let mut reasons = Vec::new();
        reasons.extend(state.stalled(now));
        if !reasons.is_empty() {
            reasons.extend(state.blocked(now));
        }
        let is_good = reasons.is_empty();
        Verdict { status: if is_good { "ok" } else { "stalled" }, reasons, is_good }
    }

    /// Whether requests should be sent here. A host that is degraded is ready: another would hardly do
    /// better, and one failing provider must not take down what does not use it.
    pub fn ready(&self, now: Instant) -> Verdict {
        let state = self.state();
        let mut reasons = Vec::new();
        reasons.extend(state.phase.reason());
        reasons.extend(state.stalled(now));
        let is_good = reasons.is_empty();
        reasons.extend(state.blocked(now));
        drop(state);
        reasons.extend(unreachable(now));
        reasons.extend(failures(now));
        let status = match (is_good, reasons.is_empty()) {
            (false, _) => "not ready",
            (true, false) => "degraded",
            (true, true) => "ready",
        };
        Verdict { status, reasons, is_good }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Phase {
    fn reason(self) -> Option<Reason> {
        let (reason, message) = match self {
            Self::Starting => ("starting", "the extensions and workloads are not ready yet"),
            Self::Draining => ("draining", "the host was asked to stop"),
            Self::Serving => return None,
        };
        Some(Reason { reason, message: message.to_owned() })
    }
}

impl State {
    fn stalled(&self, now: Instant) -> Option<Reason> {
        let message =
            format!("no thread of the host has taken work for {}", ago(self.stalled?, now));
        Some(Reason { reason: "stalled", message })
    }

    fn blocked(&self, now: Instant) -> impl Iterator<Item = Reason> {
        self.blocked.iter().map(move |blocked| Reason {
            reason: "blocked",
            message: format!("{} holds a thread for {}", blocked.call(), ago(blocked.since, now)),
        })
    }
}

impl Blocked {
    /// The call, for people.
    pub(super) fn call(&self) -> String {
        let Some(names) = &self.names else { return "a call into a provider".to_owned() };
        let Names { workload, provider, interface, function } = &**names;
        let call = format!("`{interface}#{function}` of provider `{provider}`");
        match workload {
            Some(workload) => format!("{call}, called by workload `{workload}`,"),
            None => call,
        }
    }
}

fn unreachable(now: Instant) -> impl Iterator<Item = Reason> {
    unreachable::now().into_iter().map(move |(server, away)| Reason {
        reason: "unreachable",
        message: format!(
            "server `{server}` cannot be reached for {}: {}",
            ago(away.since, now),
            away.reason
        ),
    })
}

fn failures(now: Instant) -> impl Iterator<Item = Reason> {
    failures::within(MEMORY, now).into_iter().map(move |(provider, failed)| Reason {
        reason: "provider",
        message: format!(
            "provider `{provider}` failed {} ago in `{}`: {}",
            ago(failed.at, now),
            failed.call,
            failed.kind
        ),
    })
}

/// A time in seconds, for people.
pub(super) fn ago(since: Instant, now: Instant) -> String {
    format!("{:.1} s", now.saturating_duration_since(since).as_secs_f32())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without those of providers, which are the whole process's.
    fn reasons(verdict: &Verdict) -> Vec<&'static str> {
        verdict.reasons.iter().map(|r| r.reason).filter(|r| *r != "provider").collect()
    }

    fn blocked(since: Instant) -> Blocked {
        let names = Names {
            workload: Some("shop".to_owned()),
            provider: "cache".to_owned(),
            interface: "a:b/c@1.0.0".to_owned(),
            function: "get".to_owned(),
        };
        Blocked { since, names: Some(Arc::new(names)) }
    }

    #[test]
    fn a_host_is_ready_from_when_it_serves_until_it_is_asked_to_stop() {
        let (health, now) = (Health::new(), Instant::now());
        let ready = || {
            let verdict = health.ready(now);
            (verdict.is_good, reasons(&verdict))
        };
        assert_eq!(ready(), (false, vec!["starting"]));
        health.serving();
        assert_eq!(ready(), (true, vec![]));
        health.draining();
        assert_eq!(ready(), (false, vec!["draining"]));
        // The start may end behind the signal.
        health.serving();
        assert_eq!(ready(), (false, vec!["draining"]));
        assert!(health.live(now).is_good);
    }

    #[test]
    fn a_blocked_thread_degrades_and_a_stalled_host_is_neither_live_nor_ready() {
        let (health, now) = (Health::new(), Instant::now());
        health.serving();
        health.watched(None, vec![blocked(now)]);
        let later = now + Duration::from_secs(12);
        let verdict = health.ready(later);
        assert!(verdict.is_good && verdict.status == "degraded", "{verdict:?}");
        assert_eq!(
            verdict.reasons.first().unwrap().message,
            "`a:b/c@1.0.0#get` of provider `cache`, called by workload `shop`, holds a thread for 12.0 s"
        );
        assert_eq!(health.live(later).status, "ok");

        health.watched(Some(now), vec![blocked(now)]);
        let (live, ready) = (health.live(later), health.ready(later));
        assert!(!live.is_good && !ready.is_good);
        assert_eq!(reasons(&live), ["stalled", "blocked"]);
        assert_eq!(reasons(&ready), ["stalled", "blocked"]);
        health.watched(None, Vec::new());
        assert!(health.live(later).is_good && health.ready(later).is_good);
    }
}
