//! An instance that answers many requests: what it has in hand, and when it ends.
//!
//! Tasks of guests cannot be ended one by one: who ends one ends the store. So an instance with a
//! request that must end (its client left, its deadline passed) takes no more, and is dropped as soon as
//! nothing else in it is wanted; if all its tasks end by themselves before that, it goes on.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Waker,
    time::Duration,
};

use tokio::time::Instant;
use tracing::Span;
use wasmtime::component::GuestTaskId;

use super::{
    drive::Driver,
    exchange::{Exchange, Released},
    lock,
    queue::{Job, Standing},
};
use crate::{
    boundary::streams::Ending,
    workload::{Ended, Workload, prepare::End},
};

/// Time for what a guest does behind its responses, where another's task is to be ended.
const GRACE: Duration = Duration::from_secs(1);

/// Requests that one poll of a worker begins before it lets other tasks of its thread run.
const BATCH: u32 = 64;

/// A worker: a task that drives one instance, as others see it.
pub(super) struct Worker {
    pub(super) workload: Arc<Workload>,
    /// Of its task, from its first poll on.
    waker: OnceLock<Waker>,
    pub(super) standing: Standing,
    /// For the streams of its guest.
    pub(super) ending: Ending,
    /// Whether it was woken for a request since this was last asked.
    was_summoned: AtomicBool,
    /// Whether the instance's loop came round since this was last asked.
    came_round: AtomicBool,
    /// Whether the guest was given a request, and the loop has not come round since.
    in_guest: AtomicBool,
    /// Requests begun in this poll.
    batch: AtomicU32,
    held: Mutex<Held>,
}

/// What an instance has in hand.
pub(super) struct Held {
    /// Whether it has been made.
    pub(super) is_up: bool,
    /// Requests that it has begun, ever.
    begun: usize,
    /// Requests that the guest may be at work for, in the order in which they began.
    requests: Vec<Arc<Exchange>>,
    /// Requests whose clients want nothing more, and whose tasks run on; they keep their places.
    abandoned: Vec<Arc<Exchange>>,
    /// The last of the requests whose responses were read while the guest went on. It keeps its place
    /// for whatever the guest does behind its responses.
    tail: Option<Arc<Exchange>>,
    /// Requests that ended with the instance, to be released when it is gone.
    ended: Vec<(Arc<Exchange>, Released)>,
    /// Set by the first that had to end before its end: why the instance will go.
    marked: Option<End>,
    /// Since when the guest does nothing.
    quiet_since: Instant,
    /// Since when it has no request in hand.
    empty_since: Instant,
    /// The earliest deadline of the requests begun since this was last asked.
    soonest: Option<Instant>,
    is_full: bool,
    cpu: Cpu,
}

/// CPU time of an instance.
///
/// Nobody can tell which of the requests in a store uses it, but for this: what runs without coming back
/// to the store's loop is one task. Such a stretch may be as long as one request may compute; and all
/// together they may use what they may use each. So none is ended for what others have used.
#[derive(Default)]
struct Cpu {
    /// Used since the loop last came round.
    stretch: Duration,
    /// Used since the guest was last done with everything.
    used: Duration,
    /// Requests begun since then.
    begun: u32,
}

impl Worker {
    /// Starts a worker that makes an instance and takes the requests that wait.
    pub(super) fn start(workload: &Arc<Workload>) {
        let worker = Arc::new(Self {
            workload: Arc::clone(workload),
            waker: OnceLock::new(),
            standing: Standing::active(),
            ending: Ending::default(),
            was_summoned: AtomicBool::new(false),
            came_round: AtomicBool::new(false),
            in_guest: AtomicBool::new(false),
            batch: AtomicU32::new(0),
            held: Mutex::new(Held::new()),
        });
        workload.instances.enter(&worker);
        tokio::spawn(Driver::new(worker));
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Wakes it for a request.
    pub(super) fn summon(&self) {
        self.was_summoned.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Whether it was woken for a request.
    pub(super) fn was_summoned(&self) -> bool {
        self.was_summoned.swap(false, Ordering::Relaxed)
    }

    /// Called at the beginning of each poll of its task.
    pub(super) fn begin_poll(&self, waker: &Waker) -> Option<Span> {
        self.waker.get_or_init(|| waker.clone());
        self.batch.store(0, Ordering::Relaxed);
        lock(&self.held).alone()
    }

    /// Whether the instance's loop came round in this poll: no guest and no host call holds the store.
    pub(super) fn came_round(&self) -> bool {
        self.came_round.swap(false, Ordering::Relaxed)
    }

    /// Whether the guest, or a host call that it waits for, has held the store since it was given a
    /// request.
    pub(super) fn is_in_guest(&self) -> bool {
        self.in_guest.load(Ordering::Relaxed)
    }

    pub(super) fn held<T>(&self, with: impl FnOnce(&mut Held) -> T) -> T {
        with(&mut lock(&self.held))
    }

    /// Called each time the instance's loop comes round: the next request, if there is one and the
    /// instance has room. `is_ready` is asked before one is taken.
    pub(super) fn next(self: &Arc<Self>, is_ready: impl FnOnce() -> bool) -> Option<Job> {
        self.came_round.store(true, Ordering::Relaxed);
        self.in_guest.store(false, Ordering::Relaxed);
        let instances = &self.workload.instances;
        let has_room = self.held(|held| {
            let plan = &instances.plan;
            held.is_full = held.requests.len() >= plan.concurrent;
            !held.is_full && !held.is_leaving(plan.requests)
        });
        if !has_room || !is_ready() {
            instances.step_aside(self);
            return None;
        }
        if self.batch.load(Ordering::Relaxed) >= BATCH {
            self.wake();
            return None;
        }
        loop {
            let job = instances.take(self)?;
            self.batch.fetch_add(1, Ordering::Relaxed);
            if let Some(after) = job.exchange.caller.overdue() {
                job.exchange.answer(Err(Ended::Deadline(after)));
                continue;
            }
            // One whose client has left is dropped here. In one step: a client that leaves looks for its
            // request among those in hand as soon as it has a worker.
            let begun = self.held(|held| {
                let begun = job.exchange.begin(self);
                if begun {
                    held.begin(&job.exchange);
                }
                begun.then(|| held.alone())
            });
            if let Some(span) = begun {
                enter(span);
                self.in_guest.store(true, Ordering::Relaxed);
                return Some(job);
            }
        }
    }

    /// The tasks of the requests that the guest may be at work for.
    pub(super) fn tasks(&self) -> Vec<GuestTaskId> {
        self.held(|held| {
            held.requests.iter().filter_map(|exchange| exchange.task.get().copied()).collect()
        })
    }

    /// Called when the guest has no task left: everything that it was given is done.
    pub(super) fn settle(&self) {
        let (done, abandoned, cpu) = self.held(|held| {
            let mut done = std::mem::take(&mut held.requests);
            for exchange in &done {
                exchange.settle();
                // A guest that has ended will not answer.
                exchange.answer(Err(Ended::NoResponse));
            }
            done.extend(held.tail.take());
            held.marked = None;
            held.is_full = false;
            held.quiet_since = Instant::now();
            let cpu = std::mem::take(&mut held.cpu);
            (done, std::mem::take(&mut held.abandoned), cpu)
        });
        self.record(&cpu);
        // Its guest has ended: a client that reads slowly keeps no place.
        done.iter().for_each(|exchange| exchange.release(Released::Well));
        abandoned.iter().for_each(|exchange| exchange.release(Released::Cancelled));
    }

    /// Called by the connection when it has all of a response.
    pub(super) fn was_read(&self, exchange: &Arc<Exchange>) {
        let (done, wakes) = self.held(|held| {
            if exchange.is_settled() {
                return (Some(Arc::clone(exchange)), false);
            }
            if !held.remove(exchange) {
                return (None, false);
            }
            // With room again, or nothing left that is wanted, the worker has something to see to.
            let wakes = held.is_full || held.marked.is_some() || held.requests.is_empty();
            (held.tail.replace(Arc::clone(exchange)), wakes)
        });
        if let Some(done) = done {
            done.release(Released::Well);
        }
        if wakes {
            self.wake();
        }
    }

    /// Called by the connection when its client left before it had all of a response.
    pub(super) fn was_left(&self, exchange: &Arc<Exchange>) {
        let is_settled = self.held(|held| {
            if held.remove(exchange) {
                held.abandon(Arc::clone(exchange), End::Cancelled);
            }
            exchange.is_settled()
        });
        if is_settled {
            // The guest has done its part.
            exchange.release(Released::Well);
        } else {
            exchange.count(Released::Cancelled);
            self.wake();
        }
    }

    /// Ends the requests whose time is over; their tasks run on until the instance goes.
    pub(super) fn expire(&self, now: Instant) {
        let is_late = |exchange: &Arc<Exchange>| exchange.caller.ends().is_some_and(|at| at <= now);
        let (late, done) = self.held(|held| {
            let mut late: Vec<_> =
                held.requests.extract_if(.., |exchange| is_late(exchange)).collect();
            if !late.is_empty() && held.requests.is_empty() {
                held.empty_since = now;
            }
            // While others are in hand nobody can tell what the guest does behind its responses.
            if held.requests.is_empty() && held.abandoned.is_empty() {
                late.extend(held.tail.take_if(|tail| is_late(tail)));
            }
            for exchange in &late {
                held.abandon(Arc::clone(exchange), End::Failed);
            }
            let is_over = held.grace_ends().is_some_and(|at| at <= now);
            (late, held.tail.take_if(|tail| is_over || is_late(tail)))
        });
        if let Some(done) = done {
            done.release(Released::Well);
        }
        for exchange in &late {
            let after = exchange.caller.deadline.map(|(after, _)| after).unwrap_or_default();
            self.end(exchange, Ended::Deadline(after));
        }
    }

    /// Ends everything in hand, for the instance has failed. Comes before its store is dropped, so that
    /// no response looks complete.
    pub(super) fn fail(&self, ended: Ended) {
        self.ending.cut();
        let (is_up, victims, abandoned) = self.held(|held| {
            held.marked.get_or_insert(End::Failed);
            let mut victims = std::mem::take(&mut held.requests);
            victims.extend(held.tail.take());
            (held.is_up, victims, std::mem::take(&mut held.abandoned))
        });
        match (is_up, victims.as_slice()) {
            (true, []) => tracing::error!(
                workload = %self.workload.name(),
                ended = ended.kind(),
                "an instance ended that nobody waited for: {ended}"
            ),
            (true, [one]) => self.end(one, ended),
            (true, many) => {
                let cause = Arc::new(ended);
                let requests = many.len();
                self.workload.log(&Ended::With { cause: Arc::clone(&cause), requests });
                for exchange in many {
                    let ended = Ended::With { cause: Arc::clone(&cause), requests };
                    self.end(exchange, ended);
                }
            }
            // It has begun none: who waits longest is told.
            (false, _) => {
                if let Some(job) = self.workload.instances.take_any() {
                    job.exchange.answer(Err(ended));
                }
            }
        }
        self.held(|held| {
            held.ended.extend(victims.into_iter().map(|exchange| (exchange, Released::Well)));
            held.ended
                .extend(abandoned.into_iter().map(|exchange| (exchange, Released::Cancelled)));
        });
    }

    /// Tells the metrics what the requests since the last settling have used, each as much.
    fn record(&self, cpu: &Cpu) {
        if cpu.begun > 0 {
            let each = cpu.used.as_secs_f64() / f64::from(cpu.begun);
            self.workload.meters.cpu_seconds.record_many(each, cpu.begun as usize);
        }
    }

    /// Ends one request with its instance. Who waits for its head reports it; else it is done here.
    fn end(&self, exchange: &Arc<Exchange>, ended: Ended) {
        if let Some(ended) = exchange.fail(ended) {
            exchange.span.in_scope(|| self.workload.report(&ended));
        }
    }

    /// Cuts what is behind its response when the host stops. Says why the instance ended, and which
    /// requests are to be released once it is gone: their places are for others then.
    pub(super) fn over(&self) -> (End, Vec<(Arc<Exchange>, Released)>) {
        // What its guest has still open, it has not ended.
        self.ending.cut();
        let instances = &self.workload.instances;
        let (end, victims, mut ended, cpu) = self.held(|held| {
            let mut victims = std::mem::take(&mut held.requests);
            victims.extend(held.tail.take());
            let end = match held.marked {
                Some(end) => end,
                None if !victims.is_empty() => End::Closed,
                None if held.begun >= instances.plan.requests => End::UsedUp,
                None if instances.is_closed() => End::Closed,
                None => End::Idle,
            };
            let mut ended = std::mem::take(&mut held.ended);
            let abandoned = std::mem::take(&mut held.abandoned);
            ended.extend(abandoned.into_iter().map(|exchange| (exchange, Released::Cancelled)));
            (end, victims, ended, std::mem::take(&mut held.cpu))
        });
        self.record(&cpu);
        for exchange in &victims {
            exchange.count(Released::Cancelled);
            // Nobody hears it but where the worker itself was dropped.
            drop(exchange.fail(Ended::Host(wasmtime::Error::msg("the instance was stopped"))));
        }
        ended.extend(victims.into_iter().map(|exchange| (exchange, Released::Cancelled)));
        (end, ended)
    }
}

impl Held {
    fn new() -> Self {
        Self {
            is_up: false,
            begun: 0,
            requests: Vec::new(),
            abandoned: Vec::new(),
            ended: Vec::new(),
            tail: None,
            marked: None,
            quiet_since: Instant::now(),
            empty_since: Instant::now(),
            soonest: None,
            is_full: false,
            cpu: Cpu::default(),
        }
    }

    fn begin(&mut self, exchange: &Arc<Exchange>) {
        self.begun += 1;
        self.cpu.begun = self.cpu.begun.saturating_add(1);
        self.soonest = match (self.soonest, exchange.caller.ends()) {
            (Some(soonest), Some(deadline)) => Some(soonest.min(deadline)),
            (soonest, deadline) => soonest.or(deadline),
        };
        self.requests.push(Arc::clone(exchange));
    }

    fn remove(&mut self, exchange: &Arc<Exchange>) -> bool {
        let Some(place) = self.requests.iter().position(|other| Arc::ptr_eq(other, exchange))
        else {
            return false;
        };
        self.requests.remove(place);
        if self.requests.is_empty() {
            self.empty_since = Instant::now();
        }
        true
    }

    fn abandon(&mut self, exchange: Arc<Exchange>, why: End) {
        self.abandoned.push(exchange);
        self.marked.get_or_insert(why);
    }

    /// Whether it takes no more requests.
    fn is_leaving(&self, limit: usize) -> bool {
        self.begun >= limit || self.marked.is_some()
    }

    /// The span of the request that the guest works for, if it can be no other.
    fn alone(&self) -> Option<Span> {
        match self.requests.as_slice() {
            [one] => Some(one.span.clone()),
            _ => None,
        }
    }

    /// Whether nothing in it is wanted any more, and nothing will come.
    pub(super) fn is_done(&self, limit: usize, is_closed: bool) -> bool {
        let is_unwanted = self.requests.is_empty() && self.tail.is_none();
        let nobody_waits = || !self.requests.iter().any(|exchange| exchange.is_unanswered());
        (self.is_leaving(limit) && is_unwanted) || (is_closed && self.is_up && nobody_waits())
    }

    /// Since when it is idle, if it is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.is_up && self.requests.is_empty() && self.tail.is_none();
        is_idle.then_some(self.quiet_since)
    }

    /// Says that it has been made.
    pub(super) fn up(&mut self) {
        self.is_up = true;
        self.quiet_since = Instant::now();
    }

    /// The earliest of what has come up since this was last asked.
    pub(super) fn take_soonest(&mut self) -> Option<Instant> {
        let soonest = self.soonest.take();
        soonest.into_iter().chain(self.grace_ends()).min()
    }

    /// The earliest of all that is in hand.
    pub(super) fn earliest(&self) -> Option<Instant> {
        let tail = self.tail.as_ref().filter(|_| self.requests.is_empty());
        let deadlines =
            self.requests.iter().chain(tail).filter_map(|exchange| exchange.caller.ends());
        deadlines.chain(self.grace_ends()).min()
    }

    /// When the guest must be done behind its responses, for there is a task to be ended and nobody can
    /// tell one from the other.
    fn grace_ends(&self) -> Option<Instant> {
        let is_last = self.requests.is_empty() && self.tail.is_some() && !self.abandoned.is_empty();
        is_last.then(|| self.empty_since + GRACE)
    }

    /// Charges CPU time that a poll has used. Whether that is more than there may be.
    pub(super) fn charge(&mut self, used: Duration, came_round: bool, limit: Duration) -> bool {
        let cpu = &mut self.cpu;
        cpu.stretch = if came_round { used } else { cpu.stretch.saturating_add(used) };
        cpu.used = cpu.used.saturating_add(used);
        cpu.stretch > limit || cpu.used > limit.saturating_mul(cpu.begun.max(1))
    }
}

thread_local! {
    /// The span of the request that the instance polled on this thread works for.
    static ENTERED: std::cell::RefCell<Option<tracing::span::EnteredSpan>> =
        const { std::cell::RefCell::new(None) };
}

/// Enters the span of a request, so that lines of the log say which, until another or none is entered.
/// Within one poll: spans belong to threads.
pub(super) fn enter(span: Option<Span>) {
    ENTERED.with_borrow_mut(|entered| {
        // Spans are left before others are entered.
        *entered = None;
        *entered = span.map(Span::entered);
    });
}
