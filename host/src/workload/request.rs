//! Answers one HTTP request with a fresh instance.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::{sync::oneshot, task::AbortHandle};
use wasmtime::Store;
use wasmtime_wasi_http::{
    Error, WasiBody, WasiHttpView,
    p2::bindings::{Proxy, http::types::Scheme},
    p3::{self, bindings::Service},
};

use super::{
    Ended, State, Workload,
    admission::Permit,
    limits::{Guarded, Progress},
    prepare::HttpPre,
};
use crate::trace::Trace;

/// The head of a response, or why there is none; and who reads its body tells by dropping.
type Head = Result<http::Response<WasiBody>, String>;

impl Workload {
    /// Answers a request, whose URI has a scheme and an authority. The response's body streams while
    /// the guest writes it. Dropping the future or, before its end, the body ends the guest.
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
        let result = self.answer(request.map(|body| body.map_err(Into::into).boxed_unsync())).await;
        if let Err(ended) = &result {
            self.report(ended);
        }
        result
    }

    async fn answer(
        self: &Arc<Self>,
        request: http::Request<WasiBody>,
    ) -> Result<http::Response<ResponseBody>, Ended> {
        let permit = self.admission.enter().await?;
        let has_no_body = *request.method() == Method::HEAD;
        let progress = Arc::new(Progress::default());
        let (send_head, mut head) = oneshot::channel();
        let (body_held, body_gone) = oneshot::channel();
        let guest =
            Arc::clone(self).run(request, send_head, body_gone, Arc::clone(&progress), permit);
        let limits = &self.spec().limits;
        let mut guest = Guarded::new(
            Box::pin(guest),
            Arc::clone(&progress),
            limits.cpu,
            limits.deadline,
            self.meters.cpu_seconds.clone(),
        );

        // The guest is polled here until its head is there; a guest that is done by then needs no
        // task of its own.
        let mut ended = None;
        let mut sender_is_gone = false;
        let head = poll_fn(|cx| {
            if let Poll::Ready(result) = Pin::new(&mut guest).poll(cx) {
                ended = Some(());
                return Poll::Ready(
                    result.and_then(|()| head.try_recv().map_err(|_| Ended::NoResponse)),
                );
            }
            if !sender_is_gone {
                match Pin::new(&mut head).poll(cx) {
                    Poll::Ready(Ok(head)) => return Poll::Ready(Ok(head)),
                    Poll::Ready(Err(_)) => sender_is_gone = true,
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        })
        .await?;
        let response = head.map_err(Ended::Error)?;
        let guest = match ended {
            Some(()) => {
                self.meters.well();
                None
            }
            None => Some(self.go_on(guest)),
        };
        let is_read = has_no_body || is_bodiless(response.status());
        Ok(response.map_with_length(|body, length| ResponseBody {
            body,
            left: length,
            is_read,
            guest,
            progress,
            _held: body_held,
        }))
    }

    /// Lets a guest run on behind its response, in a task, so that its deadline holds however slowly
    /// the client reads.
    fn go_on(self: &Arc<Self>, guest: Guarded<()>) -> AbortHandle {
        let workload = Arc::clone(self);
        let span = tracing::Span::current();
        let task = async move {
            let mut stop = workload.stop.subscribe();
            tokio::select! {
                ended = guest => match ended {
                    Ok(()) => workload.meters.well(),
                    Err(ended) => workload.report(&ended),
                },
                _ = stop.wait_for(|stop| *stop) => {}
            }
        };
        tokio::spawn(tracing::Instrument::instrument(task, span)).abort_handle()
    }

    async fn run(
        self: Arc<Self>,
        request: http::Request<WasiBody>,
        head: oneshot::Sender<Head>,
        body_gone: oneshot::Receiver<()>,
        progress: Arc<Progress>,
        _permit: Permit,
    ) -> Result<(), Ended> {
        let _running = Running::new(&self, &progress);
        let mut store = match self.template.store(self.engine(), self.spec().limits.deadline) {
            Ok(store) => store,
            Err(error) => {
                progress.ended(false);
                return Err(Ended::Host(error));
            }
        };
        if let Some(trace) = Trace::of(request.headers()) {
            store.data_mut().set_trace(trace);
        }
        let result = self.call(&mut store, request, head, body_gone).await;
        progress.ended(result.is_ok());
        result.map_err(|error| self.failure(&store, error))
    }

    async fn call(
        &self,
        store: &mut Store<State>,
        request: http::Request<WasiBody>,
        head: oneshot::Sender<Head>,
        body_gone: oneshot::Receiver<()>,
    ) -> wasmtime::Result<()> {
        match &self.http {
            Some(HttpPre::P2(pre)) => {
                let proxy = pre.instantiate_async(&mut *store).await?;
                call_p2(&proxy, store, request, head).await
            }
            Some(HttpPre::P3(pre)) => {
                let service = pre.instantiate_async(&mut *store).await?;
                call_p3(&service, store, request, head, body_gone).await
            }
            None => Err(wasmtime::Error::msg("the component does not answer HTTP")),
        }
    }

    /// What an error of wasmtime says about how the guest ended.
    pub(super) fn failure(&self, store: &Store<State>, error: wasmtime::Error) -> Ended {
        Ended::of(error, &self.spec().limits, store.data().denied())
    }
}

/// A guest that runs. Dropped before its end it is counted as cancelled, for its client is gone.
struct Running<'a> {
    workload: &'a Workload,
    progress: &'a Progress,
}

impl<'a> Running<'a> {
    fn new(workload: &'a Workload, progress: &'a Progress) -> Self {
        workload.meters.running(1.0);
        Self { workload, progress }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.workload.meters.running(-1.0);
        if self.progress.is_running() {
            self.workload.meters.cancelled();
            tracing::debug!(workload = %self.workload.name(), "the client left; the guest was ended");
        }
    }
}

async fn call_p2(
    proxy: &Proxy,
    store: &mut Store<State>,
    request: http::Request<WasiBody>,
    head: oneshot::Sender<Head>,
) -> wasmtime::Result<()> {
    let scheme = match request.uri().scheme_str() {
        Some("https") => Scheme::Https,
        _ => Scheme::Http,
    };
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(scheme, request)?;
    let out = http.new_response_outparam_from_callback(move |response| {
        // The client is gone if nobody receives.
        drop(head.send(response.map_err(|error| format!("{error:?}"))));
    })?;
    proxy.wasi_http_incoming_handler().call_handle(store, request, out).await
}

/// Tells how the host got on with a request's body.
type Processed = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

async fn call_p3(
    service: &Service,
    store: &mut Store<State>,
    request: http::Request<WasiBody>,
    head: oneshot::Sender<Head>,
    body_gone: oneshot::Receiver<()>,
) -> wasmtime::Result<()> {
    store
        .run_concurrent(async |accessor| {
            let (request, processed) = accessor.with(|mut store| {
                let hooks = store.data_mut().http().hooks;
                let (request, processed) = p3::Request::from_http(hooks, request);
                (request, Box::pin(processed) as Processed)
            });
            let response = match service.handle(accessor, request).await? {
                Ok(response) => {
                    accessor.with(|store| response.into_http(store, processed)).map(Ok)?
                }
                Err(error) => Err(format!("{error:?}")),
            };
            if head.send(response).is_err() {
                return Ok(());
            }
            // The body's streams move while the store is polled; then the guest's tasks finish.
            drop(body_gone.await);
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            Ok(())
        })
        .await?
}

/// Statuses whose responses have no body, so that nobody will read it.
fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The body of a response, as the guest writes it.
///
/// Dropped before its end, for the client is gone, it ends the guest. Read to its end, it leaves the
/// guest to finish what it does. Where the guest failed, it ends in an error and not as if complete.
#[derive(Debug)]
pub struct ResponseBody {
    body: WasiBody,
    left: Option<u64>,
    is_read: bool,
    guest: Option<AbortHandle>,
    progress: Arc<Progress>,
    _held: oneshot::Sender<()>,
}

impl ResponseBody {
    /// Whether it was read to its end, or is of a response that has none to read.
    pub fn is_read(&self) -> bool {
        self.is_read
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let frame = std::task::ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(left)) = (frame.data_ref(), &mut this.left) {
                    *left = left.saturating_sub(data.len() as u64);
                    this.is_read |= *left == 0;
                }
                // Whoever reads asks no more after these.
                this.is_read |= frame.is_trailers() || this.body.is_end_stream();
            }
            Some(Err(_)) => {}
            None if this.progress.has_failed() => {
                return Poll::Ready(Some(Err(Error::HttpResponseIncomplete)));
            }
            None => this.is_read = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(guest) = self.guest.take()
            && !self.is_read
        {
            guest.abort();
        }
    }
}

trait MapWithLength {
    fn map_with_length<B>(self, map: impl FnOnce(WasiBody, Option<u64>) -> B) -> http::Response<B>;
}

impl MapWithLength for http::Response<WasiBody> {
    fn map_with_length<B>(self, map: impl FnOnce(WasiBody, Option<u64>) -> B) -> http::Response<B> {
        let length = self
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok())
            .and_then(|length| length.parse().ok());
        self.map(|body| map(body, length))
    }
}
