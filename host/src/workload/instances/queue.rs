//! The requests of a workload that no instance has begun, and the workers that come for them.
//!
//! A request waits here until the moment an instance begins it, so that an instance which ends takes
//! none with it that it has not begun. While one waits, a worker is on its way to it: woken, starting,
//! or at work and about to look. A worker that cannot take more steps aside, and sends another.

use std::{
    cell::Cell,
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
};

use tokio::{runtime::Handle, sync::Notify};
use wasmtime_wasi_http::WasiBody;

use super::{Plan, exchange::Exchange, lock, worker::Worker};
use crate::workload::{Workload, calls::Call};

thread_local! {
    /// Requests that began on this thread since it last had nothing to do.
    static TURN: Cell<Turn> = const { Cell::new(Turn { begun: 0, before: 0 }) };
}

/// What a thread does between two times that it has nothing to do.
#[derive(Clone, Copy)]
struct Turn {
    begun: u32,
    /// The turn before.
    before: u32,
}

/// Says that a thread of the runtime has nothing to do. Where nobody does, requests are taken for several
/// that come together.
pub fn thread_idles() {
    TURN.with(|turn| turn.set(Turn { begun: 0, before: turn.get().begun }));
}

/// A request that waits for an instance.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) exchange: Arc<Exchange>,
}

/// What is asked of an instance.
pub(super) enum Work {
    /// By a client.
    Request(http::Request<WasiBody>),
    /// By a provider.
    Call(Call),
}

/// The instances of a workload that are used again, and the requests that wait for one.
pub(in crate::workload) struct Instances {
    pub(super) plan: Plan,
    /// Threads of the runtime: as many workers are sent for waiting requests at once.
    threads: OnceLock<usize>,
    is_closed: AtomicBool,
    /// Requests that have not ended.
    running: AtomicUsize,
    queue: Mutex<Queue>,
    /// Told when the last worker has left.
    empty: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// Workers that have room and nothing to do; the last one in comes first, so that the others can
    /// grow idle.
    parked: Vec<Arc<Worker>>,
    all: Vec<Arc<Worker>>,
    /// Workers that look for requests now, or will at once.
    active: usize,
    /// Workers that were started and have not left.
    workers: usize,
}

/// Where a worker stands. Changed under the queue's lock.
#[derive(Debug)]
pub(super) struct Standing(AtomicU8);

impl Standing {
    const ACTIVE: u8 = 0;
    const PARKED: u8 = 1;
    /// It has no room, is held up or ends.
    const ASIDE: u8 = 2;

    pub(super) fn active() -> Self {
        Self(AtomicU8::new(Self::ACTIVE))
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, standing: u8) {
        self.0.store(standing, Ordering::Relaxed);
    }
}

/// Who is to come for a waiting request.
#[must_use]
enum Summons {
    Nobody,
    Wake(Arc<Worker>),
    Start,
}

impl Queue {
    /// Sends a worker if a request waits and not enough are on their way.
    fn summon(&mut self, threads: usize, most: Option<usize>) -> Summons {
        if self.waiting.is_empty() || self.active >= threads {
            return Summons::Nobody;
        }
        if self.parked.is_empty() && most.is_some_and(|most| self.workers >= most) {
            // One of those that are there comes round.
            return Summons::Nobody;
        }
        self.active += 1;
        match self.parked.pop() {
            Some(worker) => {
                worker.standing.set(Standing::ACTIVE);
                Summons::Wake(worker)
            }
            None => {
                self.workers += 1;
                Summons::Start
            }
        }
    }

    /// Takes a worker from where it stands.
    fn lift(&mut self, worker: &Arc<Worker>) {
        match worker.standing.get() {
            Standing::ACTIVE => self.active -= 1,
            Standing::PARKED => self.parked.retain(|parked| !Arc::ptr_eq(parked, worker)),
            _ => {}
        }
    }
}

impl Instances {
    pub(in crate::workload) fn new(plan: Plan) -> Self {
        Self {
            plan,
            threads: OnceLock::new(),
            is_closed: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            queue: Mutex::default(),
            empty: Notify::new(),
        }
    }

    fn threads(&self) -> usize {
        *self.threads.get_or_init(|| Handle::current().metrics().num_workers().max(1))
    }

    fn obey(summons: Summons, workload: &Arc<Workload>) {
        match summons {
            Summons::Nobody => {}
            Summons::Wake(worker) => worker.summon(),
            Summons::Start => Worker::start(workload),
        }
    }

    /// Notes that there is a request more.
    pub(super) fn request_began(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
        TURN.with(|turn| {
            let Turn { begun, before } = turn.get();
            turn.set(Turn { begun: begun.saturating_add(1), before });
        });
    }

    /// Notes that a request has ended.
    pub(super) fn request_ended(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether there are several requests, or are to be expected, so that more than one may wait: a thread
    /// that had several at a time before, each on a connection that asks again, will have them again.
    pub(super) fn is_shared(&self) -> bool {
        let Turn { begun, before } = TURN.get();
        begun > 1 || before > 1 || self.running.load(Ordering::Relaxed) > 1
    }

    /// Lets a request wait for an instance.
    pub(super) fn push(&self, workload: &Arc<Workload>, job: Job) {
        let mut queue = lock(&self.queue);
        queue.waiting.push_back(job);
        let summons = queue.summon(self.threads(), self.plan.most);
        drop(queue);
        Self::obey(summons, workload);
    }

    /// The next request, for a worker with room; without one the worker is parked, to be woken when one
    /// comes.
    pub(super) fn take(&self, worker: &Arc<Worker>) -> Option<Job> {
        let mut queue = lock(&self.queue);
        let Some(job) = queue.waiting.pop_front() else {
            if worker.standing.get() != Standing::PARKED {
                queue.lift(worker);
                worker.standing.set(Standing::PARKED);
                queue.parked.push(Arc::clone(worker));
            }
            return None;
        };
        if worker.standing.get() != Standing::ACTIVE {
            queue.lift(worker);
            worker.standing.set(Standing::ACTIVE);
            queue.active += 1;
        }
        let summons = queue.summon(self.threads(), self.plan.most);
        drop(queue);
        Self::obey(summons, &worker.workload);
        Some(job)
    }

    /// A waiting request, for a worker that could not start and has to answer one in its place.
    pub(super) fn take_any(&self) -> Option<Job> {
        lock(&self.queue).waiting.pop_front()
    }

    /// Says that a worker takes no requests for now; another is sent for those that wait.
    pub(super) fn step_aside(&self, worker: &Arc<Worker>) {
        // Only the worker itself steps aside or back.
        if worker.standing.get() == Standing::ASIDE {
            return;
        }
        let mut queue = lock(&self.queue);
        queue.lift(worker);
        worker.standing.set(Standing::ASIDE);
        let summons = queue.summon(self.threads(), self.plan.most);
        drop(queue);
        Self::obey(summons, &worker.workload);
    }

    /// Lets a worker go, unless it has been woken for a request meanwhile.
    pub(super) fn let_go(&self, worker: &Arc<Worker>) -> bool {
        let mut queue = lock(&self.queue);
        if worker.standing.get() == Standing::ACTIVE {
            return false;
        }
        queue.lift(worker);
        worker.standing.set(Standing::ASIDE);
        true
    }

    pub(super) fn enter(&self, worker: &Arc<Worker>) {
        lock(&self.queue).all.push(Arc::clone(worker));
    }

    /// Forgets a worker that has ended. `sends` another for those that wait.
    pub(super) fn leave(&self, worker: &Arc<Worker>, sends: bool) {
        let mut queue = lock(&self.queue);
        queue.lift(worker);
        worker.standing.set(Standing::ASIDE);
        queue.all.retain(|other| !Arc::ptr_eq(other, worker));
        queue.workers = queue.workers.saturating_sub(1);
        if queue.all.is_empty() {
            self.empty.notify_waiters();
        }
        // Where there may be no more, nobody was sent while it was there.
        let summons = match self.plan.most {
            Some(_) if sends => queue.summon(self.threads(), self.plan.most),
            Some(_) | None => Summons::Nobody,
        };
        drop(queue);
        Self::obey(summons, &worker.workload);
    }

    /// Waits until no instance is left that answers many.
    pub(in crate::workload) async fn gone(&self) {
        loop {
            let mut empty = pin!(self.empty.notified());
            empty.as_mut().enable();
            if lock(&self.queue).all.is_empty() {
                return;
            }
            empty.await;
        }
    }

    /// Whether instances must end as soon as nobody waits for a response's head.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Wakes the instances, to see to what they have to let go of. False if there are none.
    pub(in crate::workload) fn wake(&self) -> bool {
        let all = lock(&self.queue).all.clone();
        all.iter().for_each(|worker| worker.wake());
        !all.is_empty()
    }

    /// Ends idle instances, and guests behind their responses.
    pub(in crate::workload) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        let all = lock(&self.queue).all.clone();
        all.iter().for_each(|worker| worker.wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_expected_together_where_they_came_together_before() {
        let instances = Instances::new(Plan::FRESH);
        // One after the other: each is over before the next begins.
        let turn = |requests| {
            let mut is_shared = false;
            for _ in 0..requests {
                instances.request_began();
                is_shared = instances.is_shared();
                instances.request_ended();
            }
            thread_idles();
            is_shared
        };
        // What begins before a thread has told that it had nothing to do counts as one turn.
        thread_idles();
        assert!(!turn(1), "one alone");
        assert!(turn(2), "the second");
        assert!(turn(1), "the first after several");
        assert!(!turn(1), "the first after one");
    }
}
