//! What a connection is doing: a request, a head, or nothing; and since when.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// How long an idle HTTP/1.1 connection stays open when the server stops, and a new one waits for its
/// first byte: what the client has sent by then is answered.
const GRACE: Duration = Duration::from_secs(1);

/// How long a client may keep a connection that was closed to it.
const LINGER: Duration = Duration::from_secs(5);

/// Shared by a connection's task, its requests and its input. A request costs it a few atomic
/// operations; the connection's one timer looks at it when it fires.
#[derive(Debug)]
pub(super) struct Activity {
    begun: Instant,
    running: AtomicU32,
    /// When it became idle, or the head began: microseconds after `begun`.
    since: AtomicU64,
    is_in_head: AtomicBool,
    is_closing: AtomicBool,
    has_unread: AtomicBool,
    is_cut: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self::begun_at(Instant::now())
    }

    fn begun_at(begun: Instant) -> Self {
        Self {
            begun,
            running: AtomicU32::new(0),
            since: AtomicU64::new(0),
            is_in_head: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            has_unread: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
        }
    }

    /// A request has begun.
    pub(super) fn begin(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.is_in_head.store(false, Ordering::Relaxed);
    }

    /// A request's response is gone.
    pub(super) fn end(&self) {
        self.end_at(Instant::now());
    }

    fn end_at(&self, now: Instant) {
        // The time first: who sees that nothing runs sees since when.
        self.note_time(now);
        self.running.fetch_sub(1, Ordering::Release);
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire) > 0
    }

    /// Bytes have come in. Between requests, they begin the next one's head.
    pub(super) fn read(&self) {
        if !self.is_in_head.load(Ordering::Relaxed) && !self.is_running() {
            self.head_at(Instant::now());
        }
    }

    fn head_at(&self, now: Instant) {
        self.note_time(now);
        self.is_in_head.store(true, Ordering::Relaxed);
    }

    fn note_time(&self, now: Instant) {
        let micros = u64::try_from(now.duration_since(self.begun).as_micros()).unwrap_or(u64::MAX);
        self.since.store(micros, Ordering::Relaxed);
    }

    fn since(&self) -> Instant {
        self.begun + Duration::from_micros(self.since.load(Ordering::Relaxed))
    }

    /// Responses are the last of their connection from now on.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// The host cuts the connection: its client took nothing in its time.
    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    /// A request's body was not read to its end.
    pub(super) fn left_unread(&self) {
        self.has_unread.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_unread(&self) -> bool {
        self.has_unread.load(Ordering::Relaxed)
    }
}

/// The times that a connection must keep to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) head: Option<Duration>,
    pub(super) idle: Option<Duration>,
    /// Whether what comes between requests may be something else than a head, as in HTTP/2.
    pub(super) is_multiplexed: bool,
}

/// What is to be done with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before that time; look again then.
    At(Instant),
    /// It has nothing to do: say goodbye.
    Close,
    /// It took too long for a head.
    SlowHead,
    /// It was told, and stays.
    Cut,
}

/// The end of a connection, as far as it has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ending {
    /// When the server was told to stop.
    pub(super) stopped: Option<Instant>,
    /// When the connection was told to close after what runs.
    pub(super) told: Option<Instant>,
}

impl Times {
    /// What is due now.
    pub(super) fn due(&self, activity: &Activity, ending: Ending, now: Instant) -> Due {
        // A head may begin at any time: looking once in its time is enough to see it end in time.
        const RARELY: Duration = Duration::from_secs(3600);
        let head = self.head.filter(|_| !self.is_multiplexed);
        let look = [head, self.idle].into_iter().flatten().min().unwrap_or(RARELY);
        let look = match ending {
            Ending { told: Some(_), .. } => look.min(LINGER),
            Ending { stopped: Some(_), .. } => look.min(GRACE),
            Ending { .. } => look,
        };
        if activity.is_running() {
            return Due::At(now + look);
        }
        let since = activity.since();
        let is_in_head = activity.is_in_head.load(Ordering::Relaxed);
        let (at, due) = match (ending.told, ending.stopped, head) {
            (Some(told), ..) => (told.max(since) + LINGER, Due::Cut),
            (None, Some(stopped), _) => (stopped.max(since) + GRACE, Due::Close),
            (None, None, Some(head)) if is_in_head => (since + head, Due::SlowHead),
            (None, None, _) => match self.idle {
                Some(idle) => (since + idle, Due::Close),
                None => return Due::At(now + look),
            },
        };
        if at <= now { due } else { Due::At(at.min(now + look)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(60);

    fn times(is_multiplexed: bool) -> Times {
        Times { head: Some(HEAD), idle: Some(IDLE), is_multiplexed }
    }

    #[test]
    fn an_idle_connection_is_closed_and_cut_where_it_stays() {
        let now = Instant::now();
        let activity = Activity::begun_at(now);
        let due = |ending, after| times(false).due(&activity, ending, now + after);
        assert_eq!(due(Ending::default(), Duration::ZERO), Due::At(now + HEAD));
        assert_eq!(due(Ending::default(), IDLE), Due::Close);
        let told = Ending { told: Some(now + IDLE), stopped: None };
        assert_eq!(due(told, IDLE), Due::At(now + IDLE + LINGER));
        assert_eq!(due(told, IDLE + LINGER), Due::Cut);
    }

    #[test]
    fn a_head_has_its_time_from_its_first_byte() {
        let begun = Instant::now();
        let activity = Activity::begun_at(begun);
        activity.head_at(begun + HEAD / 2);
        let due = |times: Times, after| times.due(&activity, Ending::default(), begun + after);
        assert_eq!(due(times(false), HEAD), Due::At(begun + HEAD / 2 * 3));
        assert_eq!(due(times(false), HEAD / 2 * 3), Due::SlowHead);
        // What comes in between is no head.
        assert_eq!(due(times(true), HEAD), Due::At(begun + HEAD / 2 + IDLE));
    }

    #[test]
    fn what_runs_is_let_run_and_idle_time_begins_at_its_end() {
        let begun = Instant::now();
        let activity = Activity::begun_at(begun);
        activity.head_at(begun);
        activity.begin();
        let due = |after| times(false).due(&activity, Ending::default(), begun + after);
        assert_eq!(due(IDLE * 2), Due::At(begun + IDLE * 2 + HEAD));
        activity.end_at(begun + IDLE * 2);
        assert_eq!(due(IDLE * 3), Due::Close);
        assert_eq!(due(IDLE * 3 - HEAD / 2), Due::At(begun + IDLE * 3));
    }

    #[test]
    fn a_connection_is_given_a_moment_when_the_server_stops() {
        let now = Instant::now();
        let activity = Activity::begun_at(now);
        let ending = Ending { stopped: Some(now), told: None };
        assert_eq!(times(false).due(&activity, ending, now), Due::At(now + GRACE));
        assert_eq!(times(false).due(&activity, ending, now + GRACE), Due::Close);
        // A response that was under way does not take the moment from the request behind it.
        activity.begin();
        assert_eq!(times(false).due(&activity, ending, now + GRACE), Due::At(now + GRACE * 2));
        activity.end_at(now + GRACE * 3);
        let end = now + GRACE * 4;
        assert_eq!(times(false).due(&activity, ending, now + GRACE * 3), Due::At(end));
        assert_eq!(times(false).due(&activity, ending, end), Due::Close);
    }
}
