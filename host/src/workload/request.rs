//! Answers one HTTP request: admits it, and reports how it ended.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use wasmtime::{PoolConcurrencyLimitError, Store};
use wasmtime_wasi_http::Error;

use super::{Ended, ResponseBody, State, Workload, ended::Busy};
use crate::boundary::call::CallError;

/// How long a request may wait for one of the workload's others to end.
const WAIT: Duration = Duration::from_millis(500);

/// A request's place among those of its workload that may run at once. Held until it has ended.
pub(super) type Permit = OwnedSemaphorePermit;

impl Workload {
    /// Answers a request, whose URI has a scheme and an authority. The response's body streams while
    /// the guest writes it. Dropping the future or, before its end, the body ends the request.
    ///
    /// Bad ends are logged and counted here; the caller makes a response of them.
    pub async fn handle<B>(
        self: &Arc<Self>,
        request: http::Request<B>,
    ) -> Result<http::Response<ResponseBody>, Ended>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Error>,
    {
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let result = match admit(&self.permits, self.spec().limits.concurrency).await {
            Ok(permit) => self.answer(request, permit).await,
            Err(ended) => Err(ended),
        };
        if let Err(ended) = &result {
            self.report(ended);
        }
        result
    }

    /// What an error of wasmtime says about how the guest ended.
    pub(super) fn failure(&self, store: &Store<State>, error: wasmtime::Error) -> Ended {
        if let Some(limit) = error.downcast_ref::<PoolConcurrencyLimitError>() {
            Ended::Refused(Busy::Host(limit.to_string()))
        } else if let Some(error) = error.downcast_ref::<CallError>() {
            Ended::Provider(error.clone())
        } else if store.data().was_denied_memory() {
            Ended::Memory { limit: self.spec().limits.memory, source: error }
        } else {
            Ended::Trap(error)
        }
    }
}

async fn admit(permits: &Arc<Semaphore>, limit: usize) -> Result<Permit, Ended> {
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return Ok(permit);
    }
    match timeout(WAIT, Arc::clone(permits).acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Ended::Refused(Busy::Workload(limit))),
    }
}
