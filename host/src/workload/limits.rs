//! The limits of a running guest: memory and tables as they grow, CPU time and the deadline as it is
//! polled.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use metrics::Histogram;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, Sleep, sleep_until};
use wasmtime::ResourceLimiter;

use super::{Ended, spec::Limits};
use crate::boundary::streams::Ending;
pub(super) use crate::clock::{monotonic_after, until_monotonic};

/// Counts the linear memory and the elements of tables of one store, and says no beyond the limits.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    memory: Bounded,
    table_elements: Bounded,
    instances: usize,
    tables: usize,
    memories: usize,
    denied: Option<Denied>,
}

/// What a guest was denied when it wanted to grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// Linear memory.
    Memory,
    /// Elements of a table.
    Table,
}

/// An amount that grows up to its limit.
#[derive(Debug)]
struct Bounded {
    limit: usize,
    used: usize,
    /// Growth that was allowed and may yet fail.
    pending: usize,
}

impl Bounded {
    fn new(limit: usize) -> Self {
        Self { limit, used: 0, pending: 0 }
    }

    /// Whether one of those that are counted may grow.
    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        let growth = desired.saturating_sub(current);
        let used = self.used.saturating_add(growth);
        if used > self.limit {
            return false;
        }
        // Beyond its own maximum the growth fails, and takes nothing.
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.used = used;
            self.pending = growth;
        }
        true
    }

    fn failed(&mut self) {
        self.used = self.used.saturating_sub(std::mem::take(&mut self.pending));
    }
}

impl MemoryLimit {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            memory: Bounded::new(limits.memory),
            table_elements: Bounded::new(limits.table_elements),
            instances: limits.instances,
            tables: limits.tables,
            memories: limits.memories,
            denied: None,
        }
    }

    /// What the guest was denied last, if it was denied anything.
    pub(super) fn denied(&self) -> Option<Denied> {
        self.denied
    }

    /// Forgets that it was: the guest has done without.
    pub(super) fn forget_denied(&mut self) {
        self.denied = None;
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let may = self.memory.grow(current, desired, maximum);
        if !may {
            self.denied = Some(Denied::Memory);
        }
        Ok(may)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.failed();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let may = self.table_elements.grow(current, desired, maximum);
        if !may {
            self.denied = Some(Denied::Table);
        }
        Ok(may)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_elements.failed();
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }
}

/// How far a guest has come, for those who read what it writes.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: AtomicU8,
    ending: Ending,
}

impl Progress {
    const RUNNING: u8 = 0;
    const DONE: u8 = 1;
    const FAILED: u8 = 2;

    /// Says how the guest ended. Comes before its store is dropped, and with it the ends of its streams.
    pub(super) fn ended(&self, well: bool) {
        if !well {
            self.ending.cut();
        }
        self.state.store(if well { Self::DONE } else { Self::FAILED }, Ordering::Release);
    }

    /// For the guest's streams.
    pub(super) fn ending(&self) -> Ending {
        self.ending.clone()
    }

    pub(super) fn is_running(&self) -> bool {
        self.state.load(Ordering::Acquire) == Self::RUNNING
    }

    pub(super) fn has_failed(&self) -> bool {
        self.state.load(Ordering::Acquire) == Self::FAILED
    }
}

type Guest<T> = Pin<Box<dyn Future<Output = Result<T, Ended>> + Send>>;

/// A running guest that ends at its limits.
///
/// CPU time is the thread's, spent inside polls of the guest; what it waits is not counted. The
/// engine's epochs make it yield every tick, so that a guest that never calls the host is stopped.
pub(super) struct Guarded<T> {
    guest: Option<Guest<T>>,
    progress: Arc<Progress>,
    used: Duration,
    cpu: Option<Duration>,
    /// Told at the end how much CPU time was used, however the guest ends.
    seconds: Histogram,
    deadline: Option<(Duration, Instant)>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T> Guarded<T> {
    pub(super) fn new(
        guest: Guest<T>,
        progress: Arc<Progress>,
        cpu: Option<Duration>,
        deadline: Option<(Duration, Instant)>,
        seconds: Histogram,
    ) -> Self {
        Self {
            guest: Some(guest),
            progress,
            used: Duration::ZERO,
            cpu,
            seconds,
            deadline,
            timer: None,
        }
    }

    fn end(&mut self, ended: Ended) -> Poll<Result<T, Ended>> {
        self.progress.ended(false);
        self.guest = None;
        Poll::Ready(Err(ended))
    }
}

impl<T> Future for Guarded<T> {
    type Output = Result<T, Ended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(guest) = this.guest.as_mut() else {
            // Polled after its end.
            return Poll::Pending;
        };
        let stopwatch = Stopwatch::start();
        let result = guest.as_mut().poll(cx);
        this.used += stopwatch.used();
        if result.is_ready() {
            this.guest = None;
            return result;
        }
        if let Some(limit) = this.cpu
            && this.used > limit
        {
            return this.end(Ended::Cpu(limit));
        }
        // The timer is made for those alone that wait.
        if let Some((after, at)) = this.deadline {
            let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            ready!(timer.as_mut().poll(cx));
            return this.end(Ended::Deadline(after));
        }
        Poll::Pending
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        if self.guest.is_some() {
            // Nobody waits for it any more.
            self.progress.ending.cut();
        }
        self.seconds.record(self.used);
    }
}

/// Measures the CPU time of one poll.
///
/// The clock of a thread's CPU time costs a system call, the clock on the wall does not. So a short poll
/// is charged by the wall; one that was long, for the guest has computed or its thread had to wait for a
/// core, is charged what the thread has used since its clock was last looked at, a moment before the poll.
pub(super) struct Stopwatch {
    begun: std::time::Instant,
}

/// What a thread's clock said, and when.
#[derive(Clone, Copy)]
struct Look {
    at: std::time::Instant,
    used: Duration,
}

thread_local! {
    static LOOK: Cell<Option<Look>> = const { Cell::new(None) };
}

impl Stopwatch {
    /// The longest poll that is charged by the wall, and the longest time before it in which the thread
    /// may have done other things: how far the charge of a poll may be off.
    const SHORT: Duration = Duration::from_millis(1);

    pub(super) fn start() -> Self {
        let begun = std::time::Instant::now();
        LOOK.with(|look| {
            if look.get().is_none_or(|look| begun - look.at > Self::SHORT) {
                look.set(Some(Look { at: begun, used: thread_time() }));
            }
        });
        Self { begun }
    }

    /// What was used since it was started, on this thread.
    pub(super) fn used(self) -> Duration {
        let wall = self.begun.elapsed();
        match LOOK.get() {
            Some(look) if wall > Self::SHORT => wall.min(thread_time().saturating_sub(look.used)),
            _ => wall,
        }
    }
}

/// The CPU time of the current thread.
fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes until its thread has used so much.
    fn compute(time: Duration) {
        let begun = thread_time();
        while thread_time() - begun < time {
            std::hint::black_box(());
        }
    }

    #[test]
    fn a_long_poll_is_charged_what_its_thread_has_used() {
        // What the thread did long before is not the guest's.
        compute(Duration::from_millis(20));
        let stopwatch = Stopwatch::start();
        compute(Duration::from_millis(10));
        let used = stopwatch.used();
        assert!((10..15).contains(&used.as_millis()), "{used:?}");
    }

    #[test]
    fn a_poll_is_not_charged_for_what_it_waits() {
        let stopwatch = Stopwatch::start();
        let (_sender, receiver) = std::sync::mpsc::channel::<()>();
        receiver.recv_timeout(Duration::from_millis(50)).unwrap_err();
        let used = stopwatch.used();
        assert!(used < Duration::from_millis(5), "{used:?}");
    }

    #[test]
    fn a_short_poll_is_charged_by_the_wall() {
        let stopwatch = Stopwatch::start();
        compute(Duration::from_micros(100));
        let used = stopwatch.used();
        assert!(used >= Duration::from_micros(100), "{used:?}");
    }

    fn limit(memory: usize, table_elements: usize) -> MemoryLimit {
        MemoryLimit::new(&Limits { memory, table_elements, ..Limits::default() })
    }

    #[test]
    fn memory_is_counted_over_all_memories_and_given_back_when_growing_fails() {
        let mut limit = limit(300, 0);
        assert!(limit.memory_growing(0, 100, None).unwrap());
        assert!(limit.memory_growing(0, 100, None).unwrap());
        assert!(limit.memory_growing(100, 200, None).unwrap());
        assert_eq!(limit.denied(), None);
        assert!(!limit.memory_growing(100, 101, None).unwrap());
        assert_eq!(limit.denied(), Some(Denied::Memory));
        limit.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert!(limit.memory_growing(100, 200, None).unwrap());
    }

    #[test]
    fn growth_beyond_a_memorys_own_maximum_takes_nothing() {
        let mut limit = limit(300, 0);
        assert!(limit.memory_growing(0, 250, Some(200)).unwrap());
        assert!(limit.memory_growing(0, 300, None).unwrap());
    }

    #[test]
    fn elements_are_counted_over_all_tables_and_apart_from_memory() {
        let mut limit = limit(0, 10);
        assert!(limit.table_growing(0, 6, Some(6)).unwrap());
        assert!(limit.table_growing(0, 4, None).unwrap());
        assert!(!limit.table_growing(4, 5, None).unwrap());
        assert_eq!(limit.denied(), Some(Denied::Table));
        limit.table_grow_failed(wasmtime::Error::msg("no room")).unwrap();
        assert!(limit.table_growing(0, 4, None).unwrap());
    }
}
