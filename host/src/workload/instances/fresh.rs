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

use super::body::{Guest, ResponseBody};
use crate::{
    boundary::invoke::Results,
    engine::EngineKind,
    trace::Trace,
    workload::{
        Ended, State, Workload,
        admission::Permit,
        caller::Caller,
        calls::Call,
        limits::{Guarded, Progress},
        prepare::{End, HttpHandler},
    },
};

/// A response, or why the guest makes none.
type Head = Result<http::Response<WasiBody>, Ended>;

/// Answers a request with an instance of its own.
pub(super) async fn answer(
    workload: &Arc<Workload>,
    request: http::Request<WasiBody>,
    permit: Permit,
) -> Result<http::Response<ResponseBody>, Ended> {
    let method = request.method().clone();
    let caller = Caller::client(workload.spec().limits.deadline, Trace::of(request.headers()));
    let (head, answered) = oneshot::channel();
    let (held, body_gone) = oneshot::channel();
    let guest = Fresh::new(workload, Task::Request { request, head, body_gone }, caller, permit);
    let progress = Arc::clone(&guest.progress);
    let (head, guest) = guest.until(answered).await?;
    let response = head?;
    let task = go_on_or_count(workload, guest);
    Ok(ResponseBody::of(response, &method, Guest::Fresh { progress, task, _held: held }))
}

/// Answers a call with an instance of its own.
pub(super) async fn results(
    workload: &Arc<Workload>,
    call: Call,
    caller: Caller,
    permit: Permit,
) -> Result<Results, Ended> {
    let (results, answered) = oneshot::channel();
    let guest = Fresh::new(workload, Task::Call { call, results }, caller, permit);
    let (results, guest) = guest.until(answered).await?;
    drop(go_on_or_count(workload, guest));
    Ok(results)
}

/// What a guest is to do, and who hears its answer.
enum Task {
    Request {
        request: http::Request<WasiBody>,
        head: oneshot::Sender<Head>,
        /// Told when nobody reads the response's body any more.
        body_gone: oneshot::Receiver<()>,
    },
    Call {
        call: Call,
        results: oneshot::Sender<Results>,
    },
}

/// A guest that runs for one request.
struct Fresh {
    guest: Guarded<()>,
    progress: Arc<Progress>,
}

impl Fresh {
    fn new(workload: &Arc<Workload>, task: Task, caller: Caller, permit: Permit) -> Self {
        let progress = Arc::new(Progress::default());
        let guest = run(Arc::clone(workload), task, caller, Arc::clone(&progress), permit);
        let guest = Guarded::new(
            Box::pin(guest),
            Arc::clone(&progress),
            workload.spec().limits.cpu,
            caller.deadline,
            workload.meters.cpu_seconds.clone(),
        );
        Self { guest, progress }
    }

    /// Polls the guest here until its answer is there; one that is done by then needs no task of its own.
    /// Returns the guest where it is not.
    async fn until<T>(
        self,
        mut answered: oneshot::Receiver<T>,
    ) -> Result<(T, Option<Guarded<()>>), Ended> {
        let mut guest = self.guest;
        let mut has_ended = false;
        let mut sender_is_gone = false;
        let answer = poll_fn(|cx| {
            if let Poll::Ready(result) = Pin::new(&mut guest).poll(cx) {
                has_ended = true;
                return Poll::Ready(
                    result.and_then(|()| answered.try_recv().map_err(|_| Ended::NoResponse)),
                );
            }
            if !sender_is_gone {
                match Pin::new(&mut answered).poll(cx) {
                    Poll::Ready(Ok(answer)) => return Poll::Ready(Ok(answer)),
                    Poll::Ready(Err(_)) => sender_is_gone = true,
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        })
        .await?;
        Ok((answer, (!has_ended).then_some(guest)))
    }
}

/// Lets a guest go on that has answered, or counts that it has ended.
fn go_on_or_count(workload: &Arc<Workload>, guest: Option<Guarded<()>>) -> Option<AbortHandle> {
    match guest {
        Some(guest) => Some(go_on(workload, guest)),
        None => {
            workload.meters.well();
            None
        }
    }
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
    task: Task,
    caller: Caller,
    progress: Arc<Progress>,
    _permit: Permit,
) -> Result<(), Ended> {
    let _running = Running::new(&workload, &progress);
    let ending = progress.ending();
    let mut store = match workload.template.store(workload.engine(), caller.context, ending) {
        Ok(store) => store,
        Err(error) => {
            progress.ended(false);
            return Err(Ended::Host(error));
        }
    };
    let result = perform(&workload, &mut store, task).await;
    progress.ended(result.is_ok());
    result.map_err(|error| workload.failure(&store, error))
}

async fn perform(
    workload: &Workload,
    store: &mut Store<State>,
    task: Task,
) -> wasmtime::Result<()> {
    let instance = workload.pre.instantiate_async(&mut *store).await?;
    match task {
        Task::Request { request, head, body_gone } => {
            let Some(http) = &workload.http else { return no_http() };
            match http.of(store, &instance)? {
                // The client is gone if nobody receives.
                HttpHandler::P2(proxy) => {
                    call_p2(&proxy, store, request, move |answer| drop(head.send(answer))).await
                }
                HttpHandler::P3(service) => {
                    call_p3(&service, store, request, head, body_gone).await
                }
            }
        }
        Task::Call { call, results } => {
            let Some(exported) = workload.exports.get(call.function) else { return no_export() };
            let export = &exported.export;
            if workload.kind == EngineKind::Sync {
                drop(results.send(export.call(store, &instance, call.arguments).await?));
                return Ok(());
            }
            store
                .run_concurrent(async |accessor| {
                    let (_, call) = export.begin(accessor, &instance, call.arguments)?;
                    drop(results.send(call.await?));
                    // The guest's tasks finish behind its results.
                    poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
                    Ok(())
                })
                .await?
        }
    }
}

/// Nothing routes requests to such a component.
#[cold]
pub(super) fn no_http<T>() -> wasmtime::Result<T> {
    Err(wasmtime::Error::msg("the component does not answer HTTP"))
}

/// Nothing numbers such a function.
#[cold]
pub(super) fn no_export<T>() -> wasmtime::Result<T> {
    Err(wasmtime::Error::msg("the component has no such export"))
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
    answer: impl FnOnce(Head) + Send + Sync + 'static,
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
