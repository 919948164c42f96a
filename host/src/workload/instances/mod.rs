//! The instances that answer requests: a fresh one for each, or some that answer many. A provider's call of
//! what the workload exports is a request as well.
//!
//! [`fresh`] makes an instance for one request, on the task of the connection that the request came on.
//! Else a request waits in the [`queue`] for a [`worker`], the task of an instance that answers many:
//! [`drive`] is that task, [`serve`] the loop inside its store. What connection and worker share of a
//! request is its [`exchange`]. Nothing here knows how requests are admitted.

mod body;
mod drive;
mod exchange;
mod fresh;
mod queue;
mod serve;
mod worker;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use wasmtime_wasi_http::WasiBody;

use body::Guest;
pub use body::ResponseBody;
use exchange::{Awaiting, Exchange, Reply};
pub(super) use queue::Instances;
pub use queue::thread_idles;
use queue::{Job, Work};

use super::{Ended, Workload, admission::Permit, caller::Caller, calls::Call, spec};
use crate::{boundary::invoke::Results, trace::Trace};

/// How many requests an instance takes; settled when the workload is made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// In its life.
    pub(super) requests: usize,
    /// At the same time.
    pub(super) concurrent: usize,
    /// How long it stays without one; for ever without this.
    pub(super) idle: Option<Duration>,
    /// Instances at once; as many as requests need without this.
    pub(super) most: Option<usize>,
}

/// Why a workload cannot have as many requests at once in an instance as it asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OneAtATime {
    /// It needs nothing of 0.3: what it exports keeps its instance to itself.
    #[error("its component is of WASI 0.2, whose functions run one after the other")]
    Engine,
    /// While a guest waits for a plain function, its instance waits.
    #[error(
        "its component imports `{0}`, a plain `func`, and waits for it with its whole instance"
    )]
    Import(String),
}

impl Plan {
    /// A fresh instance for each request.
    pub(super) const FRESH: Self = Self { requests: 1, concurrent: 1, idle: None, most: None };

    /// The plan of a workload that answers several requests at once, or, if there is a reason, not.
    /// Fails if it is to do what it cannot.
    pub(super) fn new(
        settings: &spec::Instances,
        reason: Option<OneAtATime>,
    ) -> Result<Self, OneAtATime> {
        let requests = match &reason {
            Some(OneAtATime::Engine) => spec::Instances::REQUESTS_0_2,
            Some(OneAtATime::Import(_)) | None => spec::Instances::REQUESTS_0_3,
        };
        let concurrent = match (reason, settings.concurrent) {
            (Some(reason), Some(asked)) if asked.get() > 1 => return Err(reason),
            (Some(_), _) => 1,
            (None, asked) => asked.map_or(spec::Instances::CONCURRENT, |asked| asked.get()),
        };
        let requests = settings.requests.map_or(requests, |requests| requests.get());
        let most = settings.most.map(|most| most.get());
        Ok(Self { requests, concurrent: concurrent.min(requests), idle: settings.idle, most })
    }

    fn is_fresh(&self) -> bool {
        self.requests == 1 && self.most.is_none()
    }
}

impl Workload {
    /// Answers an admitted request, with a fresh instance or one that answers others as well.
    pub(super) async fn answer(
        self: &Arc<Self>,
        request: http::Request<WasiBody>,
        permit: Permit,
    ) -> Result<http::Response<ResponseBody>, Ended> {
        if self.instances.plan.is_fresh() {
            return fresh::answer(self, request, permit).await;
        }
        let method = request.method().clone();
        let trace = Trace::of(request.headers());
        let caller = Caller::client(self.spec().limits.deadline, trace);
        match self.shared(Work::Request(request), caller, permit).await? {
            (Reply::Response(response), exchange) => {
                Ok(ResponseBody::of(response, &method, Guest::Shared(exchange)))
            }
            (Reply::Results(_), _) => Err(Ended::NoResponse),
        }
    }

    /// Answers an admitted call of what the workload exports, likewise.
    pub(super) async fn results(
        self: &Arc<Self>,
        call: Call,
        caller: Caller,
        permit: Permit,
    ) -> Result<Results, Ended> {
        if self.instances.plan.is_fresh() {
            return fresh::results(self, call, caller, permit).await;
        }
        let (reply, exchange) = self.shared(Work::Call(call), caller, permit).await?;
        exchange.finish();
        match reply {
            Reply::Results(results) => Ok(results),
            Reply::Response(_) => Err(Ended::NoResponse),
        }
    }

    async fn shared(
        self: &Arc<Self>,
        work: Work,
        caller: Caller,
        permit: Permit,
    ) -> Result<(Reply, Arc<Exchange>), Ended> {
        let exchange = Exchange::new(self, caller, permit);
        let awaiting = Awaiting::new(Arc::clone(&exchange));
        self.instances.push(self, Job { work, exchange });
        awaiting.reply().await
    }
}

/// A lock whose data is whole whatever happened while it was held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    fn settings(requests: usize, concurrent: usize) -> spec::Instances {
        spec::Instances {
            requests: NonZeroUsize::new(requests),
            concurrent: NonZeroUsize::new(concurrent),
            ..spec::Instances::default()
        }
    }

    #[test]
    fn a_plan_is_by_what_the_component_can() {
        let import = || Some(OneAtATime::Import("a:b/c".to_owned()));
        let plan = |settings, reason| {
            Plan::new(&settings, reason).map(|plan| (plan.requests, plan.concurrent))
        };
        assert_eq!(plan(settings(0, 0), Some(OneAtATime::Engine)), Ok((1, 1)));
        assert_eq!(plan(settings(9, 1), Some(OneAtATime::Engine)), Ok((9, 1)));
        assert_eq!(plan(settings(9, 2), Some(OneAtATime::Engine)), Err(OneAtATime::Engine));
        assert_eq!(plan(settings(0, 0), None), Ok((128, 16)));
        assert_eq!(plan(settings(5, 0), None), Ok((5, 5)));
        assert_eq!(plan(settings(5, 2), None), Ok((5, 2)));
        assert_eq!(plan(settings(0, 0), import()), Ok((128, 1)));
        assert!(plan(settings(0, 2), import()).is_err());
    }
}
