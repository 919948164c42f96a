//! What one workload has of the places, and its queue.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
};

use metrics::Gauge;
use tokio::sync::{Notify, oneshot};

use super::{
    Bounds, Permit,
    places::{Pool, lock},
};
use crate::workload::ended::Busy;

/// What one workload has.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) pool: Arc<Pool>,
    pub(super) bounds: Bounds,
    /// Places that a request takes.
    places: u32,
    /// [`Standing`], so that both change together.
    standing: AtomicU64,
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
    queued: Gauge,
    /// How many wait for the end of all requests, and what tells them of it.
    awaited: AtomicUsize,
    pub(super) ended: Notify,
}

/// Who waits, in the order of their numbers.
#[derive(Debug, Default)]
struct Queue {
    next: u64,
    waiting: VecDeque<(u64, oneshot::Sender<Permit>)>,
}

/// The places that are reserved for a workload, and its requests that run.
#[derive(Debug, Clone, Copy)]
struct Standing {
    reserved: u32,
    running: u32,
}

impl Standing {
    fn unpack(packed: u64) -> Self {
        Self { reserved: (packed >> 32) as u32, running: packed as u32 }
    }

    fn pack(self) -> u64 {
        u64::from(self.reserved) << 32 | u64::from(self.running)
    }

    /// The places that are not for others.
    fn held(self, places: u32) -> i64 {
        let taken = i64::from(self.running) * i64::from(places);
        taken.max(i64::from(self.reserved))
    }
}

/// What came of trying to let a request in.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub(super) struct Attempt {
    pub(super) is_taken: bool,
    /// Places of the pool were in hand for a moment and given back: those of other workloads that
    /// looked for some just then have to look again.
    pub(super) gave_back: bool,
}

impl Share {
    pub(super) fn new(pool: Arc<Pool>, places: u32, bounds: Bounds, queued: Gauge) -> Self {
        Self {
            pool,
            bounds,
            places: places.max(1),
            standing: AtomicU64::new(Standing { reserved: 0, running: 0 }.pack()),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
            queued,
            awaited: AtomicUsize::new(0),
            ended: Notify::new(),
        }
    }

    /// Places that a request takes.
    pub(super) fn places(&self) -> i64 {
        i64::from(self.places)
    }

    /// Places that its requests can take.
    pub(super) fn most(&self) -> i64 {
        self.places() * i64::from(self.bounds.concurrency)
    }

    /// Places that its requests have taken.
    pub(super) fn taken(&self) -> i64 {
        self.places() * i64::from(self.standing().running)
    }

    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.load(SeqCst) > 0
    }

    pub(super) fn is_idle(&self) -> bool {
        // In this order: one that is let in counts among the waiting until it counts among the running.
        !self.has_waiting() && self.standing().running == 0
    }

    fn standing(&self) -> Standing {
        Standing::unpack(self.standing.load(SeqCst))
    }

    /// What a request had to wait for that has waited in vain.
    pub(super) fn why_waited(&self) -> Busy {
        let Bounds { concurrency, wait, .. } = self.bounds;
        if self.standing().running < concurrency {
            Busy::Instances(wait)
        } else {
            Busy::Wait { wait, concurrency }
        }
    }

    /// Reserves so many places for it from now on.
    pub(super) fn reserve(&self, places: i64) {
        let reserved = u32::try_from(places).unwrap_or(u32::MAX);
        let change = |packed| Some(Standing { reserved, ..Standing::unpack(packed) }.pack());
        if let Ok(before) = self.standing.fetch_update(SeqCst, SeqCst, change) {
            let before = Standing::unpack(before);
            let after = Standing { reserved, ..before };
            self.pool.give(before.held(self.places) - after.held(self.places));
        }
    }

    /// Lets a request in that need not wait, and overtakes nobody.
    pub(super) fn try_enter(self: &Arc<Self>) -> Option<Permit> {
        if self.has_waiting() {
            return None;
        }
        let attempt = self.try_take(|| self.pool.waiting.load(SeqCst) == 0);
        if attempt.gave_back {
            self.pool.hand_out();
        }
        attempt.is_taken.then(|| Permit(Arc::clone(self)))
    }

    /// Takes a turn and the places for it, if there are; of those that all share only if it `may`.
    pub(super) fn try_take(&self, may: impl Fn() -> bool) -> Attempt {
        let mut attempt = Attempt::default();
        let mut packed = self.standing.load(SeqCst);
        loop {
            let now = Standing::unpack(packed);
            if now.running >= self.bounds.concurrency {
                return attempt;
            }
            let then = Standing { running: now.running + 1, ..now };
            let shared = then.held(self.places) - now.held(self.places);
            if shared > 0 && !(may() && self.pool.take(shared)) {
                return attempt;
            }
            match self.standing.compare_exchange_weak(packed, then.pack(), SeqCst, SeqCst) {
                Ok(_) => return Attempt { is_taken: true, ..attempt },
                Err(other) => packed = other,
            }
            if shared > 0 {
                self.pool.give(shared);
                attempt.gave_back = true;
            }
        }
    }

    /// Gives a turn and its places back, to those that wait for them.
    pub(super) fn release(&self) {
        let mut packed = self.standing.load(SeqCst);
        let (now, then) = loop {
            let now = Standing::unpack(packed);
            let then = Standing { running: now.running.saturating_sub(1), ..now };
            match self.standing.compare_exchange_weak(packed, then.pack(), SeqCst, SeqCst) {
                Ok(_) => break (now, then),
                Err(other) => packed = other,
            }
        };
        let shared = now.held(self.places) - then.held(self.places);
        if shared > 0 {
            self.pool.give(shared);
        }
        let can_use = if shared > 0 { &self.pool.waiting } else { &self.waiting };
        if can_use.load(SeqCst) > 0 {
            self.pool.hand_out();
        }
        if then.running == 0 {
            self.tell_if_ended();
        }
    }

    /// Lets in who waits longest, if that can be.
    pub(super) fn grant_next(self: &Arc<Self>) -> Attempt {
        let mut queue = lock(&self.queue);
        if queue.waiting.is_empty() {
            return Attempt::default();
        }
        let attempt = self.try_take(|| true);
        let next = if attempt.is_taken { queue.waiting.pop_front() } else { None };
        let unsent = next.and_then(|(_, grant)| {
            self.left_queue();
            // Under the lock, so that who is not in the queue any more has its permit.
            grant.send(Permit(Arc::clone(self))).err()
        });
        drop(queue);
        // Nobody drops the other end while in the queue; if one did, its turn would be the next one's.
        drop(unsent);
        attempt
    }

    /// A number in the queue, for who is to be told by `grant`. None if as many wait as may.
    pub(super) fn queue_up(&self, grant: oneshot::Sender<Permit>) -> Option<u64> {
        let mut queue = lock(&self.queue);
        if queue.waiting.len() >= self.bounds.queue {
            return None;
        }
        let number = queue.next;
        queue.next += 1;
        queue.waiting.push_back((number, grant));
        self.waiting.fetch_add(1, SeqCst);
        self.pool.waiting.fetch_add(1, SeqCst);
        self.queued.increment(1.0);
        Some(number)
    }

    /// Takes a number out of the queue. False if it is not there any more.
    pub(super) fn withdraw(&self, number: u64) -> bool {
        let mut queue = lock(&self.queue);
        let Ok(index) = queue.waiting.binary_search_by_key(&number, |(number, _)| *number) else {
            return false;
        };
        let removed = queue.waiting.remove(index);
        self.left_queue();
        drop(queue);
        drop(removed);
        self.tell_if_ended();
        true
    }

    fn left_queue(&self) {
        self.waiting.fetch_sub(1, SeqCst);
        self.pool.waiting.fetch_sub(1, SeqCst);
        self.queued.decrement(1.0);
    }

    /// Has the end of all requests told until the guard is dropped.
    pub(super) fn await_end(&self) -> Awaited<'_> {
        self.awaited.fetch_add(1, SeqCst);
        Awaited(self)
    }

    fn tell_if_ended(&self) {
        if self.awaited.load(SeqCst) > 0 && self.is_idle() {
            self.ended.notify_waiters();
        }
    }
}

/// Somebody waits for the end of all requests.
pub(super) struct Awaited<'a>(&'a Share);

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.awaited.fetch_sub(1, SeqCst);
    }
}
