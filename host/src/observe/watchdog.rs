//! Watches the threads of the main runtime from outside it: whether they take work, and which call into
//! a provider holds one of them.

use std::time::{Duration, Instant};

use metrics::{Gauge, counter, gauge};
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::health::{Blocked, Health, ago};
use crate::{
    boundary::names,
    metric::{CALLS_BLOCKING, THREADS_BLOCKED, WATCHDOG_LAG},
    watch::calls::{self, Call},
};

/// The longest time between two looks. A thread that is blocked may have been the one that waits for
/// sockets and timers, and the runtime has another wait only when it is given work: what is sent there
/// at each look ends that, so that this is also how long a blocked thread may hold up all others.
const LONGEST_PERIOD: Duration = Duration::from_millis(250);
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);

/// Watches a runtime. Runs on another.
#[derive(Debug)]
pub struct Watchdog {
    limit: Duration,
    main: Handle,
    health: Health,
    /// Work that was sent and has not been done as far as is known, and when.
    sent: Option<(Instant, JoinHandle<Instant>)>,
    is_stalled: bool,
    threads: Threads,
    lag: Gauge,
    blocked: Gauge,
}

impl Watchdog {
    /// Watches `main`: neither may a call hold a thread of it, nor may work wait for one, for longer
    /// than `limit`.
    pub fn new(limit: Duration, main: Handle, health: Health) -> Self {
        Self {
            limit,
            main,
            health,
            sent: None,
            is_stalled: false,
            threads: Threads::default(),
            lag: gauge!(WATCHDOG_LAG.name),
            blocked: gauge!(THREADS_BLOCKED.name),
        }
    }

    /// Watches for as long as the runtime lives. To be spawned once.
    pub async fn run(mut self) {
        let mut ticks = interval((self.limit / 8).clamp(SHORTEST_PERIOD, LONGEST_PERIOD));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            let blocked = self.threads.look(calls::now(), now, self.limit);
            self.blocked.set(f64::from(u32::try_from(blocked.len()).unwrap_or(u32::MAX)));
            let Some(waits_since) = self.send(now).await else { return };
            let stalled = waits_since.filter(|since| now.duration_since(*since) >= self.limit);
            self.tell(stalled, &blocked, now);
            self.health.watched(stalled, blocked);
        }
    }

    /// Sends work to the runtime, unless what was sent before still waits; since when it does, then.
    /// None if the runtime has ended.
    async fn send(&mut self, now: Instant) -> Option<Option<Instant>> {
        if let Some((sent, task)) = self.sent.take() {
            if !task.is_finished() {
                self.lag.set(now.duration_since(sent).as_secs_f64());
                self.sent = Some((sent, task));
                return Some(Some(sent));
            }
            let done = task.await.ok()?;
            self.lag.set(done.saturating_duration_since(sent).as_secs_f64());
        }
        self.sent = Some((now, self.main.spawn(async { Instant::now() })));
        Some(None)
    }

    /// Logs that the host has begun, or ceased, to make no progress.
    fn tell(&mut self, stalled: Option<Instant>, blocked: &[Blocked], now: Instant) {
        match (self.is_stalled, stalled) {
            (false, Some(since)) => {
                let calls: Vec<_> = blocked.iter().map(Blocked::call).collect();
                let why = match calls.is_empty() {
                    true => "no call into a provider is known to block".to_owned(),
                    false => format!("blocked by {}", calls.join(" and ")),
                };
                tracing::error!(
                    "the host makes no progress: none of its threads has taken work for {}; {why}",
                    ago(since, now)
                );
            }
            (true, None) => tracing::info!("the host makes progress again"),
            (true, Some(_)) | (false, None) => {}
        }
        self.is_stalled = stalled.is_some();
    }
}

/// What each thread was inside when it was last looked at.
#[derive(Debug, Default)]
struct Threads(Vec<Option<Seen>>);

/// A call that a thread was seen in.
#[derive(Debug)]
struct Seen {
    call: Call,
    /// When it was first seen.
    since: Instant,
    /// What was told of it, if it has taken too long.
    blocked: Option<Blocked>,
}

impl Threads {
    /// The calls that have held their threads for too long by now. What is new is logged and counted.
    fn look(&mut self, calls: Vec<Option<Call>>, now: Instant, limit: Duration) -> Vec<Blocked> {
        self.0.resize_with(calls.len().max(self.0.len()), || None);
        for (place, call) in self.0.iter_mut().zip(calls) {
            if place.as_ref().map(|seen| seen.call) != call {
                if let Some(Seen { blocked: Some(blocked), .. }) = place {
                    blocked.ended(now);
                }
                *place = call.map(|call| Seen { call, since: now, blocked: None });
            }
            if let Some(Seen { call, since, blocked: blocked @ None }) = place
                && now.duration_since(*since) >= limit
            {
                let names = names::of_call(call.number);
                blocked.insert(Blocked { since: *since, names }).began(now);
            }
        }
        self.0.iter().flatten().filter_map(|seen| seen.blocked.clone()).collect()
    }
}

impl Blocked {
    fn began(&self, now: Instant) {
        if let Some(names) = &self.names {
            counter!(
                CALLS_BLOCKING.name,
                "provider" => names.provider.clone(),
                "interface" => names.interface.clone(),
                "function" => names.function.clone()
            )
            .increment(1);
        }
        tracing::warn!(
            "{} has held a thread of the host for {}: it blocks where it should wait, and holds up \
             other requests",
            self.call(),
            ago(self.since, now)
        );
    }

    fn ended(&self, now: Instant) {
        tracing::info!("{} has given its thread back after {}", self.call(), ago(self.since, now));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tokio::{io::AsyncReadExt as _, time::timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn a_call_is_blocked_that_is_the_same_at_each_look_for_too_long() {
        let limit = Duration::from_secs(1);
        let begun = Instant::now();
        let call = |entered| Some(Call { number: u32::MAX, entered });
        let mut threads = Threads::default();
        let mut look = |calls: &[Option<Call>], millis| {
            threads.look(calls.to_vec(), begun + Duration::from_millis(millis), limit).len()
        };
        assert_eq!(look(&[None], 0), 0);
        assert_eq!(look(&[None, call(1)], 100), 0);
        // Another call of the same function, as in a busy guest.
        assert_eq!(look(&[None, call(2)], 1200), 0);
        assert_eq!(look(&[None, call(2)], 2100), 0);
        assert_eq!(look(&[call(7), call(2)], 2200), 1);
        assert_eq!(look(&[call(7), call(2)], 3200), 2);
        assert_eq!(look(&[None, call(2)], 3300), 1);
        assert_eq!(look(&[None, None], 3400), 0);
    }

    #[test]
    fn a_runtime_whose_only_thread_is_blocked_is_stalled_until_it_is_not() {
        let main = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let aside = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let health = Health::new();
        let watchdog =
            Watchdog::new(Duration::from_millis(100), main.handle().clone(), health.clone());
        let (release, released) = std::sync::mpsc::channel::<()>();
        let until = async |is_live: bool| {
            let mut ticks = interval(Duration::from_millis(10));
            while health.live(Instant::now()).is_good != is_live {
                ticks.tick().await;
            }
        };
        let test = async {
            tokio::spawn(watchdog.run());
            main.spawn(async move { released.recv().ok() });
            until(false).await;
            release.send(()).unwrap();
            until(true).await;
        };
        aside.block_on(async { timeout(PATIENCE, test).await }).unwrap();
    }

    /// A task on `main` that waits for a byte and then does that; what to send the byte by.
    fn on_byte(
        main: &tokio::runtime::Runtime,
        then: impl FnOnce() + Send + 'static,
    ) -> std::os::unix::net::UnixStream {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let _context = main.enter();
        let mut theirs = tokio::net::UnixStream::from_std(theirs).unwrap();
        let (waiting, waits) = std::sync::mpsc::channel();
        main.spawn(async move {
            waiting.send(()).unwrap();
            theirs.read_u8().await.unwrap();
            then();
        });
        waits.recv().unwrap();
        ours
    }

    #[test]
    fn a_blocked_thread_that_has_waited_for_sockets_has_another_take_its_place() {
        let main = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let aside = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (blocks, blocked) = std::sync::mpsc::channel();
        let (done, is_done) = tokio::sync::oneshot::channel();
        let mut first = on_byte(&main, move || {
            blocks.send(()).unwrap();
            released.recv().ok();
        });
        let mut second = on_byte(&main, move || done.send(()).unwrap());
        first.write_all(&[1]).unwrap();
        blocked.recv().unwrap();
        second.write_all(&[1]).unwrap();
        let watchdog = Watchdog::new(PATIENCE, main.handle().clone(), Health::new());
        let is_done = aside.block_on(async {
            tokio::spawn(watchdog.run());
            timeout(PATIENCE, is_done).await
        });
        // Whatever comes of it: the runtime waits for its threads.
        release.send(()).unwrap();
        is_done.unwrap().unwrap();
    }

    #[test]
    fn a_watchdog_ends_with_the_runtime_that_it_watches() {
        let main = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let aside = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = main.handle().clone();
        main.shutdown_timeout(PATIENCE);
        let watchdog = Watchdog::new(Duration::from_millis(100), handle, Health::new());
        aside.block_on(async { timeout(PATIENCE, watchdog.run()).await }).unwrap();
    }
}
