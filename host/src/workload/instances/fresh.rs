//! A fresh instance for one request, polled by the connection that the request came on.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use tokio::{sync::oneshot, task::AbortHandle};
use wasmtime::Store;
use wasmtime_wasi_http::{
    Error, WasiBody, WasiHttpView,
    p2::bindings::{Proxy, http::types::Scheme},
    p3::{self, bindings::Service},
};

use super::{
    body::{Guest, ResponseBody},
    exchange::Answer,
};
use crate::{
    trace::Trace,
    workload::{
        Ended, State, Workload,
        admission::Permit,
        limits::{Guarded, Progress},
        prepare::{End, HttpPre},
    },
};

/// Answers a request with an instance of its own.
pub(super) async fn answer(
    workload: &Arc<Workload>,
    request: http::Request<WasiBody>,
    permit: Permit,
) -> Result<http::Response<ResponseBody>, Ended> {
    let method = request.method().clone();
    let progress = Arc::new(Progress::default());
    let (send_head, mut head) = oneshot::channel();
    let (body_held, body_gone) = oneshot::channel();
    let guest =
        run(Arc::clone(workload), request, send_head, body_gone, Arc::clone(&progress), permit);
    let limits = &workload.spec().limits;
    let mut guest = Guarded::new(
        Box::pin(guest),
        Arc::clone(&progress),
        limits.cpu,
        limits.deadline,
        workload.meters.cpu_seconds.clone(),
    );

    // The guest is polled here until its head is there; a guest that is done by then needs no task of
    // its own.
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
    let response = head?;
    let task = match ended {
        Some(()) => {
            workload.meters.well();
            None
        }
        None => Some(go_on(workload, guest)),
    };
    Ok(ResponseBody::of(response, &method, Guest::Fresh { progress, task, _held: body_held }))
}

/// Lets a guest run on behind its response, in a task, so that its deadline holds however slowly the
/// client reads.
fn go_on(workload: &Arc<Workload>, guest: Guarded<()>) -> AbortHandle {
    let workload = Arc::clone(workload);
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
    workload: Arc<Workload>,
    request: http::Request<WasiBody>,
    head: oneshot::Sender<Answer>,
    body_gone: oneshot::Receiver<()>,
    progress: Arc<Progress>,
    _permit: Permit,
) -> Result<(), Ended> {
    let _running = Running::new(&workload, &progress);
    let mut store =
        match workload.template.store(workload.engine(), workload.spec().limits.deadline) {
            Ok(store) => store,
            Err(error) => {
                progress.ended(false);
                return Err(Ended::Host(error));
            }
        };
    if let Some(trace) = Trace::of(request.headers()) {
        store.data_mut().set_trace(trace);
    }
    let result = call(&workload, &mut store, request, head, body_gone).await;
    progress.ended(result.is_ok());
    result.map_err(|error| workload.failure(&store, error))
}

async fn call(
    workload: &Workload,
    store: &mut Store<State>,
    request: http::Request<WasiBody>,
    head: oneshot::Sender<Answer>,
    body_gone: oneshot::Receiver<()>,
) -> wasmtime::Result<()> {
    match &workload.http {
        Some(HttpPre::P2(pre)) => {
            let proxy = pre.instantiate_async(&mut *store).await?;
            // The client is gone if nobody receives.
            call_p2(&proxy, store, request, move |answer| drop(head.send(answer))).await
        }
        Some(HttpPre::P3(pre)) => {
            let service = pre.instantiate_async(&mut *store).await?;
            call_p3(&service, store, request, head, body_gone).await
        }
        None => Err(wasmtime::Error::msg("the component does not answer HTTP")),
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
        workload.meters.instance_started();
        Self { workload, progress }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.workload.meters.running(-1.0);
        let end = if self.progress.is_running() {
            self.workload.meters.cancelled();
            tracing::debug!(workload = %self.workload.name(), "the client left; the guest was ended");
            End::Cancelled
        } else if self.progress.has_failed() {
            End::Failed
        } else {
            End::UsedUp
        };
        self.workload.meters.instance_ended(end);
    }
}

/// Lets a guest of `wasi:http` 0.2 handle a request; `answer` hears the head, if it makes one.
pub(super) async fn call_p2(
    proxy: &Proxy,
    store: &mut Store<State>,
    request: http::Request<WasiBody>,
    answer: impl FnOnce(Answer) + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    let scheme = match request.uri().scheme_str() {
        Some("https") => Scheme::Https,
        _ => Scheme::Http,
    };
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(scheme, request)?;
    let out = http.new_response_outparam_from_callback(move |response| {
        answer(response.map_err(|error| Ended::Error(format!("{error:?}"))));
    })?;
    proxy.wasi_http_incoming_handler().call_handle(store, request, out).await
}

/// Tells how the host got on with a request's body.
pub(super) type Processed = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

async fn call_p3(
    service: &Service,
    store: &mut Store<State>,
    request: http::Request<WasiBody>,
    head: oneshot::Sender<Answer>,
    body_gone: oneshot::Receiver<()>,
) -> wasmtime::Result<()> {
    store
        .run_concurrent(async |accessor| {
            let (request, processed) = accessor.with(|mut store| {
                let hooks = store.data_mut().http().hooks;
                let (request, processed) = p3::Request::from_http(hooks, request);
                (request, Box::pin(processed) as Processed)
            });
            let answer = match service.handle(accessor, request).await? {
                Ok(response) => {
                    accessor.with(|store| response.into_http(store, processed)).map(Ok)?
                }
                Err(error) => Err(Ended::Error(format!("{error:?}"))),
            };
            if head.send(answer).is_err() {
                return Ok(());
            }
            // The body's streams move while the store is polled; then the guest's tasks finish.
            drop(body_gone.await);
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            Ok(())
        })
        .await?
}
