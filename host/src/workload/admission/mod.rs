//! Lets requests in: so many of a workload at once, so many that wait, and none at the cost of others.
//!
//! A request needs a turn, of which its workload has `limits.concurrency`, and places among the
//! engine's instances, which all workloads share ([`Places`]). Whoever finds both is let in by a few
//! atomic operations. Others wait in their workload's queue, first come, first served.
//!
//! Knows nothing of instances: who holds a [`Permit`] may have one.

mod places;
mod share;
#[cfg(test)]
mod tests;

use std::{pin::pin, sync::Arc, time::Duration};

use metrics::Gauge;
use tokio::{sync::oneshot, time::timeout};

pub use self::places::Places;
use self::{places::Pool, share::Share};
use super::{Ended, ended::Busy, spec::Limits};

/// How many requests of a workload run and wait at most, and how long they wait.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    concurrency: u32,
    queue: usize,
    wait: Duration,
}

/// The admission of one workload. Dropped with it, and what was reserved for it goes to the others.
#[derive(Debug)]
pub(super) struct Admission(Arc<Share>);

impl Admission {
    /// Joins those that share a pool. Each request takes so many `places` of it; `queued` counts those
    /// that wait.
    pub(super) fn new(pool: &Arc<Pool>, places: u32, limits: &Limits, queued: Gauge) -> Self {
        let bounds = Bounds {
            concurrency: u32::try_from(limits.concurrency).unwrap_or(u32::MAX),
            queue: limits.queue,
            wait: limits.queue_wait,
        };
        Self(pool.join(places, bounds, queued))
    }

    /// Waits for the request's turn, within `limits.queue` and `limits.queue-wait`. Dropping the future
    /// gives up what it waits for or was just given.
    ///
    /// # Errors
    ///
    /// [`Ended::Refused`] at once if the queue is full, or when it has waited for long enough.
    pub(super) async fn enter(&self) -> Result<Permit, Ended> {
        match self.0.try_enter() {
            Some(permit) => Ok(permit),
            None => self.wait().await,
        }
    }

    async fn wait(&self) -> Result<Permit, Ended> {
        let Some(mut waiting) = Waiting::begin(&self.0) else {
            return Err(Ended::Refused(Busy::Queue(self.0.bounds.queue)));
        };
        match timeout(self.0.bounds.wait, &mut waiting.granted).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => waiting.give_up().ok_or_else(|| Ended::Refused(self.0.why_waited())),
        }
    }

    /// Waits until none of the workload's requests runs or waits.
    pub(super) async fn finished(&self) {
        let share = &self.0;
        let _awaited = share.await_end();
        let mut ended = pin!(share.ended.notified());
        loop {
            // From here on no end is missed.
            ended.as_mut().enable();
            if share.is_idle() {
                return;
            }
            ended.as_mut().await;
            ended.set(share.ended.notified());
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.pool.leave(&self.0);
    }
}

/// A request's right to run. To be held until its instance is gone; dropping it lets the next one in.
#[derive(Debug)]
pub(super) struct Permit(Arc<Share>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// A request in the queue. Dropped, it leaves it; and what it was given meanwhile goes to the next.
struct Waiting<'a> {
    share: &'a Share,
    number: u64,
    granted: oneshot::Receiver<Permit>,
}

impl<'a> Waiting<'a> {
    /// None if as many wait as may.
    fn begin(share: &'a Arc<Share>) -> Option<Self> {
        let (grant, granted) = oneshot::channel();
        let number = share.queue_up(grant)?;
        // What was free may have been so before there was anyone to give it to.
        share.pool.hand_out();
        Some(Self { share, number, granted })
    }

    /// Leaves the queue, unless it was let in this very moment.
    fn give_up(mut self) -> Option<Permit> {
        if self.share.withdraw(self.number) { None } else { self.granted.try_recv().ok() }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.share.withdraw(self.number);
    }
}
