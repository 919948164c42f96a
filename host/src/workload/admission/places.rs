//! Divides the engines' instances among the workloads, so that none can take those of all.
//!
//! Half of the places are reserved, the same number for each workload; the others are for whoever
//! comes first. Since a workload can have its own part and no more than the half that all share, every
//! other is sure of its part at any time.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst},
};

use metrics::Gauge;
use smallvec::SmallVec;

use super::{Bounds, share::Share};
use crate::engine::{EngineKind, Engines};

/// The places of a host: for each of its engines as many as that has instances. Made once, and handed to
/// every workload.
#[derive(Debug, Clone)]
pub struct Places {
    sync: Arc<Pool>,
    concurrent: Arc<Pool>,
}

impl Places {
    /// The places of these engines. There must be no others of the same engines.
    pub fn new(engines: &Engines) -> Self {
        let pool = || Arc::new(Pool::new(engines.instances()));
        Self { sync: pool(), concurrent: pool() }
    }

    /// Those of one engine.
    pub(in super::super) fn of(&self, kind: EngineKind) -> &Arc<Pool> {
        match kind {
            EngineKind::Sync => &self.sync,
            EngineKind::Concurrent => &self.concurrent,
        }
    }
}

/// The places of one engine.
///
/// A workload holds what is reserved for it or what its requests have taken, whichever is more; what
/// nobody holds is `free`. So `free + Σ max(reserved, taken) = size` whenever nobody is in between.
#[derive(Debug)]
pub(in super::super) struct Pool {
    size: i64,
    /// Below nothing for as long as a workload that has just come is sure of what others have taken.
    free: AtomicI64,
    /// Requests in the queues of all workloads.
    pub(super) waiting: AtomicUsize,
    shares: Mutex<Vec<Arc<Share>>>,
}

impl Pool {
    pub(super) fn new(size: u32) -> Self {
        let size = i64::from(size);
        Self {
            size,
            free: AtomicI64::new(size),
            waiting: AtomicUsize::new(0),
            shares: Mutex::default(),
        }
    }

    pub(super) fn join(self: &Arc<Self>, places: u32, bounds: Bounds, queued: Gauge) -> Arc<Share> {
        let share = Arc::new(Share::new(Arc::clone(self), places, bounds, queued));
        let mut shares = lock(&self.shares);
        shares.push(Arc::clone(&share));
        self.reserve(&shares);
        share
    }

    /// Takes a workload out. What it has taken comes back as its last requests end.
    pub(super) fn leave(&self, share: &Arc<Share>) {
        let mut shares = lock(&self.shares);
        shares.retain(|other| !Arc::ptr_eq(other, share));
        share.reserve(0);
        self.reserve(&shares);
        drop(shares);
        self.hand_out();
    }

    fn reserve(&self, shares: &[Arc<Share>]) {
        let number = i64::try_from(shares.len()).unwrap_or(i64::MAX);
        let part = self.size / number.saturating_mul(2).max(1);
        // Sure of one request at least, and of no more than it may have at once.
        let sure = |share: &Share| part.max(share.places()).min(share.most());
        let is_sure = shares.iter().map(|share| sure(share)).sum::<i64>() <= self.size;
        if !is_sure {
            tracing::warn!(
                "{number} workloads share {} instances, so that none is sure of one; \
                 raise `engine.instances`",
                self.size
            );
        }
        for share in shares {
            share.reserve(if is_sure { sure(share) } else { part });
        }
    }

    /// Takes places that nobody holds, all or none.
    pub(super) fn take(&self, places: i64) -> bool {
        let take = |free: i64| (free >= places).then(|| free - places);
        self.free.fetch_update(SeqCst, SeqCst, take).is_ok()
    }

    /// Gives places back, or takes them if there are less than none, without asking.
    pub(super) fn give(&self, places: i64) {
        self.free.fetch_add(places, SeqCst);
    }

    /// Lets in whoever can be of those that wait; of two workloads first the one that has less.
    ///
    /// To be called whenever something has become free that those of another workload can use. It
    /// looks at `waiting` after that, and who begins to wait looks at what is free after it has raised
    /// `waiting`: one of the two sees the other.
    pub(super) fn hand_out(&self) {
        while self.waiting.load(SeqCst) > 0 {
            let mut shares: SmallVec<[Arc<Share>; 8]> =
                lock(&self.shares).iter().filter(|share| share.has_waiting()).cloned().collect();
            shares.sort_by_key(|share| share.taken());
            let mut again = false;
            for share in &shares {
                let attempt = share.grant_next();
                again |= attempt.is_taken || attempt.gave_back;
                if attempt.is_taken {
                    break;
                }
            }
            if !again {
                return;
            }
        }
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> i64 {
        self.free.load(SeqCst)
    }
}

/// A lock whose data no panic can leave half changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
