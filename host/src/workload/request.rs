//! Answers one HTTP request: admits it, and reports how it ended.

use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt as _;
use wasmtime::Store;
use wasmtime_wasi_http::Error;

use super::{Ended, ResponseBody, State, Workload};

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
        let result = match self.admission.enter().await {
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
        Ended::of(error, &self.spec().limits, store.data().denied())
    }
}
