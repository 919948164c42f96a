//! What the operator sees of an attempt that was denied: a line in the log, so often as it is of use,
//! and a counter.

use std::{
    fmt::Display,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use metrics::{Counter, counter};
use tokio::time::Instant;

use crate::{metric::EGRESS_DENIED, name::WorkloadName};

/// Lines of one workload in each [`PERIOD`]; a guest that tries for ever does not flood the log.
const LINES: u32 = 20;

const PERIOD: Duration = Duration::from_secs(10);

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// An outbound request.
    Http,
    /// A TCP connection.
    Tcp,
    /// A datagram.
    Udp,
    /// To be reached on a port.
    Listen,
    /// The look-up of a name.
    Name,
}

impl Attempt {
    const ALL: [Self; 5] = [Self::Http, Self::Tcp, Self::Udp, Self::Listen, Self::Name];

    fn label(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Listen => "listen",
            Self::Name => "name",
        }
    }

    /// The key of the list that would allow it.
    fn key(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp | Self::Udp => "sockets",
            Self::Listen => "listen",
            Self::Name => "name-lookup",
        }
    }
}

/// The denials of one workload.
#[derive(Debug)]
pub(super) struct Denials {
    workload: WorkloadName,
    counters: [(Attempt, Counter); 5],
    lines: Mutex<Lines>,
}

impl Denials {
    pub(super) fn new(workload: &WorkloadName) -> Self {
        let counters = Attempt::ALL.map(|attempt| {
            let counter = counter!(EGRESS_DENIED.name,
                "workload" => workload.to_string(), "kind" => attempt.label());
            (attempt, counter)
        });
        Self { workload: workload.clone(), counters, lines: Mutex::new(Lines::new(Instant::now())) }
    }

    /// Counts an attempt that was denied, and says in the log what was tried, why it was denied, and
    /// which entry would allow it.
    pub(super) fn denied(
        &self,
        attempt: Attempt,
        tried: impl Display,
        why: impl Display,
        entry: Option<String>,
    ) {
        if let Some((_, counter)) = self.counters.iter().find(|(of, _)| *of == attempt) {
            counter.increment(1);
        }
        let Some(passed_over) = self.line() else { return };
        let (workload, kind) = (&self.workload, attempt.label());
        let remedy = entry.map_or_else(String::new, |entry| {
            let key = attempt.key();
            format!("; to allow it, add \"{entry}\" to `workloads.{workload}.network.{key}`")
        });
        tracing::warn!(target: "egress", %workload, kind, passed_over, "{tried} was denied: {why}{remedy}");
    }

    /// Says in the log that something the operator can mend has failed; as often as a denial.
    pub(super) fn failed(&self, tried: impl Display, why: impl Display) {
        if let Some(passed_over) = self.line() {
            let workload = &self.workload;
            tracing::warn!(target: "egress", %workload, passed_over, "{tried} failed: {why}");
        }
    }

    fn line(&self) -> Option<u64> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }
}

/// How many lines were written of late.
#[derive(Debug)]
struct Lines {
    since: Instant,
    written: u32,
    passed_over: u64,
}

impl Lines {
    fn new(since: Instant) -> Self {
        Self { since, written: 0, passed_over: 0 }
    }

    /// Whether a line may be written now; then how many were not since the last.
    fn take(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.since) >= PERIOD {
            (self.since, self.written) = (now, 0);
        }
        if self.written == LINES {
            self.passed_over += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.passed_over))
    }
}

/// A text of a guest's own, so that it cannot break a line or fill the log.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 100;
    let mut shown: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_tries_for_ever_gets_so_many_lines_and_the_rest_is_counted() {
        let begin = Instant::now();
        let mut lines = Lines::new(begin);
        let taken = (0..1000).filter(|_| lines.take(begin).is_some()).count();
        assert_eq!(taken, LINES as usize);
        assert_eq!(lines.take(begin + PERIOD), Some(1000 - u64::from(LINES)));
        assert_eq!(lines.take(begin + PERIOD), Some(0));
    }

    #[test]
    fn a_text_of_a_guest_stays_on_its_line() {
        assert_eq!(shown("a\nb"), "a\\nb");
        assert_eq!(shown(&"x".repeat(200)).len(), 103);
    }
}
