//! The limits of a running guest: memory as it grows, CPU time and the deadline as it is polled.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, Sleep, sleep_until};
use wasmtime::ResourceLimiter;

use super::Ended;

/// Counts the linear memory of one store and says no beyond the limit.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    limit: usize,
    used: usize,
    /// Growth that was allowed and may yet fail.
    pending: usize,
    denied: bool,
}

impl MemoryLimit {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, used: 0, pending: 0, denied: false }
    }

    /// Whether the guest has been denied memory.
    pub(super) fn was_denied(&self) -> bool {
        self.denied
    }

    /// Forgets that it was: the guest has done without.
    pub(super) fn forget_denied(&mut self) {
        self.denied = false;
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let used = self.used.saturating_add(growth);
        if used > self.limit {
            self.denied = true;
            return Ok(false);
        }
        // Beyond its own maximum the growth fails, and takes nothing.
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.used = used;
            self.pending = growth;
        }
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.used = self.used.saturating_sub(std::mem::take(&mut self.pending));
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        _desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The pool's slots bound the tables.
        Ok(true)
    }
}

/// How far a guest has come, for the one who reads what it writes.
#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU8);

impl Progress {
    const RUNNING: u8 = 0;
    const DONE: u8 = 1;
    const FAILED: u8 = 2;

    /// Says how the guest ended. Comes before its store is dropped, and with it the ends of its streams.
    pub(super) fn ended(&self, well: bool) {
        self.0.store(if well { Self::DONE } else { Self::FAILED }, Ordering::Release);
    }

    pub(super) fn is_running(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::RUNNING
    }

    pub(super) fn has_failed(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::FAILED
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
    cpu_left: Duration,
    cpu: Option<Duration>,
    deadline: Option<(Duration, Instant)>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T> Guarded<T> {
    pub(super) fn new(
        guest: Guest<T>,
        progress: Arc<Progress>,
        cpu: Option<Duration>,
        deadline: Option<Duration>,
    ) -> Self {
        let deadline = deadline.map(|after| (after, Instant::now() + after));
        Self {
            guest: Some(guest),
            progress,
            cpu_left: cpu.unwrap_or_default(),
            cpu,
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
        let begun = this.cpu.map(|_| thread_time());
        if let Poll::Ready(result) = guest.as_mut().poll(cx) {
            this.guest = None;
            return Poll::Ready(result);
        }
        if let (Some(limit), Some(begun)) = (this.cpu, begun) {
            let used = thread_time().saturating_sub(begun);
            match this.cpu_left.checked_sub(used) {
                Some(left) => this.cpu_left = left,
                None => return this.end(Ended::Cpu(limit)),
            }
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

/// The CPU time of the current thread.
pub(super) fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// `CLOCK_MONOTONIC` after `after`, in nanoseconds, as the ABI's deadlines are.
pub(super) fn monotonic_after(after: Duration) -> u64 {
    let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
    u64::try_from((now + after).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_over_all_memories_and_given_back_when_growing_fails() {
        let mut limit = MemoryLimit::new(300);
        assert!(limit.memory_growing(0, 100, None).unwrap());
        assert!(limit.memory_growing(0, 100, None).unwrap());
        assert!(limit.memory_growing(100, 200, None).unwrap());
        assert!(!limit.was_denied());
        assert!(!limit.memory_growing(100, 101, None).unwrap());
        assert!(limit.was_denied());
        limit.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert!(limit.memory_growing(100, 200, None).unwrap());
    }

    #[test]
    fn growth_beyond_a_memorys_own_maximum_takes_nothing() {
        let mut limit = MemoryLimit::new(300);
        assert!(limit.memory_growing(0, 250, Some(200)).unwrap());
        assert!(limit.memory_growing(0, 300, None).unwrap());
    }
}
