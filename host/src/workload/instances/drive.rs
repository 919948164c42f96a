//! The task of a worker: polls its instance, holds it to its limits and ends it.
//!
//! The loop inside a store stands still while a guest computes or a host call holds the store. So what
//! must not wait for either is done here, outside of it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    serve::serve,
    worker::{Worker, enter},
};
use crate::workload::{Ended, limits::Stopwatch};

/// A timer that is never due.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The task of a worker.
pub(super) struct Driver {
    worker: Arc<Worker>,
    /// The instance; it ends when it has failed.
    instance: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// One for all requests: it is due no later than whatever comes first, and asks then what does.
    timer: Pin<Box<Sleep>>,
    is_armed: bool,
    /// When the instance must be there.
    must_be_up: Option<Instant>,
    /// Polls in which the instance was not there yet.
    starting: u32,
    was_polled: bool,
    has_ended: bool,
}

impl Driver {
    pub(super) fn new(worker: Arc<Worker>) -> Self {
        let instance = Box::pin(serve(Arc::clone(&worker)));
        let deadline = worker.workload.spec().limits.deadline;
        let now = Instant::now();
        let must_be_up = deadline.map(|after| now + after);
        let idle = worker.workload.instances.plan.idle.unwrap_or(NEVER);
        let first = must_be_up.map_or(now + idle, |at| at.min(now + idle));
        worker.workload.meters.instance_started();
        Self {
            timer: Box::pin(sleep_until(first)),
            worker,
            instance: Some(instance),
            is_armed: false,
            must_be_up,
            starting: 0,
            was_polled: false,
            has_ended: false,
        }
    }

    /// Drops the instance, and what is left in it.
    fn end(&mut self) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let worker = &self.worker;
        // A runtime that ends drops what is spawned: nobody is sent for what waits.
        if self.was_polled {
            worker.workload.instances.step_aside(worker);
        }
        let (end, released) = worker.over();
        // Whoever waits for the end of a request sees its handles released.
        self.instance = None;
        for (exchange, how) in released {
            exchange.release(how);
        }
        worker.workload.meters.instance_ended(end);
        worker.workload.instances.leave(worker, self.was_polled);
    }

    fn fail(&mut self, ended: Ended) {
        self.worker.fail(ended);
        self.end();
    }

    /// Holds the instance to its limits after a poll that left it waiting; whether it goes on.
    fn goes_on(&mut self, used: Duration, cx: &mut Context<'_>) -> bool {
        let worker = Arc::clone(&self.worker);
        let workload = &worker.workload;
        let limits = &workload.spec().limits;
        let came_round = worker.came_round();
        let (is_up, exceeds, soonest) = worker.held(|held| {
            let exceeds = held.charge(used, came_round, limits.cpu.unwrap_or(Duration::MAX));
            (held.is_up, exceeds, held.take_soonest())
        });
        if exceeds && let Some(limit) = limits.cpu {
            self.fail(Ended::Cpu(limit));
            return false;
        }
        if !came_round || worker.is_in_guest() {
            // A fresh instance takes a poll, or two when its thread's turn ended meanwhile.
            self.starting += u32::from(!is_up);
            if is_up || self.starting > 2 {
                workload.instances.step_aside(&worker);
            }
        }
        if !self.keeps_time(soonest, cx) {
            return false;
        }
        let plan = &workload.instances.plan;
        let is_closed = workload.instances.is_closed();
        if worker.held(|held| held.is_done(plan.requests, is_closed)) {
            self.end();
            return false;
        }
        true
    }

    /// Sees to the timer: what is due, and what comes next.
    fn keeps_time(&mut self, soonest: Option<Instant>, cx: &mut Context<'_>) -> bool {
        if let Some(soonest) = soonest
            && soonest < self.timer.deadline()
        {
            self.timer.as_mut().reset(soonest);
            self.is_armed = false;
        }
        loop {
            if self.is_armed && Instant::now() < self.timer.deadline() {
                return true;
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                self.is_armed = true;
                return true;
            }
            self.is_armed = false;
            match self.due() {
                Some(next) => self.timer.as_mut().reset(next),
                None => return false,
            }
        }
    }

    /// Does what is due, and says when to look again; none if that was the end.
    fn due(&mut self) -> Option<Instant> {
        let worker = Arc::clone(&self.worker);
        let workload = &worker.workload;
        let (limits, instances) = (&workload.spec().limits, &workload.instances);
        let now = Instant::now();
        let must_be_up = self.must_be_up.filter(|_| !worker.held(|held| held.is_up));
        if let Some(after) = limits.deadline
            && must_be_up.is_some_and(|at| at <= now)
        {
            self.fail(Ended::Deadline(after));
            return None;
        }
        worker.expire(now);
        let (idle_since, earliest) = worker.held(|held| (held.idle_since(), held.earliest()));
        let mut next = now + NEVER;
        if let Some(idle) = instances.plan.idle {
            next = idle_since.unwrap_or(now) + idle;
            if next <= now && instances.let_go(&worker) {
                self.end();
                return None;
            }
            // An instance that was woken at the last moment is asked again when it has had its turn.
            next = next.max(now + Duration::from_millis(1));
        }
        [must_be_up, earliest].into_iter().flatten().chain([next]).min()
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(instance) = this.instance.as_mut() else { return Poll::Ready(()) };
        if this.worker.was_summoned() && this.worker.workload.instances.is_shared() {
            // The runtime would run it before the connections that have requests as well; behind them,
            // it begins all of those in one poll.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.was_polled = true;
        enter(this.worker.begin_poll(cx.waker()));
        let stopwatch = Stopwatch::start();
        let poll = instance.as_mut().poll(cx);
        enter(None);
        if poll.is_ready() {
            this.end();
            return Poll::Ready(());
        }
        let used = stopwatch.used();
        if this.goes_on(used, cx) { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The runtime ends, or a fault of the host.
        self.end();
    }
}
