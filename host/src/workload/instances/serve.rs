//! The loop inside a reused instance: takes requests, calls the guest and hands out its answers.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use backplane_abi::CallContext;
use futures::{
    future::Either,
    stream::{FuturesUnordered, StreamExt as _},
};
use wasmtime::{
    Store,
    component::{Accessor, GuestTaskId, Instance},
};
use wasmtime_wasi_http::{
    WasiBody, WasiHttpView,
    p3::{self, bindings::Service},
};

use super::{
    exchange::{Exchange, Reply},
    fresh::{Processed, call_p2, no_export, no_http},
    queue::{Job, Work},
    worker::Worker,
};
use crate::{
    boundary::invoke::drop_own,
    engine::EngineKind,
    workload::{Ended, State, extension::Released, prepare::HttpHandler},
};

/// Makes an instance and lets it answer requests until it fails. Ends it in the worker's books before
/// its store is dropped.
pub(super) async fn serve(worker: Arc<Worker>) {
    let workload = &worker.workload;
    let context = CallContext::default();
    let ending = worker.ending.clone();
    let mut store = match workload.template.store(workload.engine(), context, ending) {
        Ok(store) => store,
        Err(error) => return worker.fail(Ended::Host(error)),
    };
    if let Err(error) = answer(&worker, &mut store).await {
        worker.fail(match workload.failure(&store, error) {
            // The pool has no stack left for a guest that was at work: its clients may not be told to
            // come again.
            Ended::Refused(busy) if worker.held(|held| held.is_up) => {
                Ended::Host(wasmtime::Error::msg(busy.to_string()))
            }
            ended => ended,
        });
    }
}

async fn answer(worker: &Arc<Worker>, store: &mut Store<State>) -> wasmtime::Result<()> {
    let workload = &worker.workload;
    let instance = workload.pre.instantiate_async(&mut *store).await?;
    let http = workload.http.as_ref().map(|http| http.of(store, &instance)).transpose()?;
    worker.held(|held| held.up());
    match (workload.kind, http) {
        // Destructors of resources that others hold run while nothing else does.
        (EngineKind::Concurrent, None) if workload.released.is_some() => {
            answer_in_turn(worker, store, &instance, None).await
        }
        (EngineKind::Sync, http) => answer_in_turn(worker, store, &instance, http.as_ref()).await,
        // One of WASI 0.2 in an engine for others.
        (EngineKind::Concurrent, http @ Some(HttpHandler::P2(_))) => {
            answer_in_turn(worker, store, &instance, http.as_ref()).await
        }
        (EngineKind::Concurrent, Some(HttpHandler::P3(service))) => {
            answer_beside(worker, store, &instance, Some(&service)).await
        }
        (EngineKind::Concurrent, None) => answer_beside(worker, store, &instance, None).await,
    }
}

/// One request after the other.
async fn answer_in_turn(
    worker: &Arc<Worker>,
    store: &mut Store<State>,
    instance: &Instance,
    http: Option<&HttpHandler>,
) -> wasmtime::Result<()> {
    loop {
        let released = worker.workload.released.as_deref();
        let next = |_: &mut Context<'_>| match released.filter(|released| released.is_any()) {
            Some(_) => Poll::Ready(None),
            None => worker.next(|| true).map_or(Poll::Pending, |job| Poll::Ready(Some(job))),
        };
        let Some(Job { work, exchange }) = poll_fn(next).await else {
            for handle in released.map(Released::take).unwrap_or_default() {
                drop_own(store, handle).await?;
            }
            continue;
        };
        store.data_mut().begin(exchange.caller.context, None);
        match work {
            Work::Request(request) => {
                let Some(HttpHandler::P2(proxy)) = http else { return no_http() };
                let answered = Arc::clone(&exchange);
                let answer = move |head: Result<_, _>| answered.answer(head.map(Reply::Response));
                call_p2(proxy, store, request, answer).await?;
            }
            Work::Call(call) => {
                let exports = &worker.workload.exports;
                let Some(exported) = exports.get(call.function) else { return no_export() };
                let answer = match exported.export.check(store.data_mut(), &call.arguments) {
                    Ok(()) => Ok(exported.export.call(store, instance, call.arguments).await?),
                    Err(failure) => Err(Ended::Arguments(failure)),
                };
                exchange.answer(answer.map(Reply::Results));
            }
        }
        drop(exchange);
        store.data_mut().settle();
        worker.settle();
    }
}

/// Requests side by side. Each begins when the loop has come round since the one before, so that the
/// guest has begun with that.
async fn answer_beside(
    worker: &Arc<Worker>,
    store: &mut Store<State>,
    instance: &Instance,
    service: Option<&Service>,
) -> wasmtime::Result<()> {
    // Any of the instance's: what is asked of it is whether the instance is ready.
    let func = match (service, worker.workload.exports.first()) {
        (Some(service), _) => Some(*service.wasi_http_handler().func_handle().func()),
        (None, Some(exported)) => exported.export.func(&mut *store, instance),
        (None, None) => None,
    };
    store
        .run_concurrent(async |accessor| {
            let mut calls = FuturesUnordered::new();
            // Whether the guest may have tasks.
            let mut is_busy = false;
            poll_fn(|_| {
                // What is asked here changes through the guest alone, and the loop comes round after
                // each of its turns: to be woken as well would be one more round for each request.
                let cx = &mut Context::from_waker(Waker::noop());
                while let Poll::Ready(Some(ended)) = calls.poll_next_unpin(cx) {
                    if let Err(error) = ended {
                        return Poll::Ready(Err(error));
                    }
                }
                if is_busy && calls.is_empty() && accessor.poll_no_interesting_tasks(cx).is_ready()
                {
                    is_busy = false;
                    accessor.with(|mut store| store.data_mut().settle());
                    worker.settle();
                }
                let is_ready = || {
                    func.is_none_or(|func| {
                        accessor.poll_ready_for_concurrent_call(func, cx).is_ready()
                    })
                };
                if let Some(job) = worker.next(is_ready) {
                    is_busy = true;
                    match begin(worker, accessor, instance, service, job) {
                        Ok(call) => calls.push(call),
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
                Poll::Pending
            })
            .await
        })
        .await?
}

/// Gives a request to the guest; the future ends when it has its answer.
fn begin<'a>(
    worker: &'a Worker,
    accessor: &'a Accessor<State>,
    instance: &Instance,
    service: Option<&'a Service>,
    job: Job,
) -> wasmtime::Result<impl Future<Output = wasmtime::Result<()>> + Send + use<'a>> {
    let Job { work, exchange } = job;
    match work {
        Work::Request(request) => {
            let Some(service) = service else { return no_http() };
            begin_request(worker, accessor, service, request, exchange).map(Either::Left)
        }
        Work::Call(call) => {
            let exports = &worker.workload.exports;
            let Some(exported) = exports.get(call.function) else { return no_export() };
            let (task, results) = exported.export.begin(accessor, instance, call.arguments)?;
            accessor.with(|mut store| begun(worker, store.data_mut(), &exchange, task));
            Ok(Either::Right(async move {
                exchange.answer(Ok(Reply::Results(results.await?)));
                Ok(())
            }))
        }
    }
}

/// Tells a request's calls from those of others by its task.
fn begun(worker: &Worker, data: &mut State, exchange: &Exchange, task: GuestTaskId) {
    if data.begun() >= 2 * worker.workload.instances.plan.concurrent {
        data.keep_only(&worker.tasks());
    }
    data.begin(exchange.caller.context, Some(task));
    exchange.begun_as(task);
}

fn begin_request<'a>(
    worker: &Worker,
    accessor: &'a Accessor<State>,
    service: &'a Service,
    request: http::Request<WasiBody>,
    exchange: Arc<Exchange>,
) -> wasmtime::Result<impl Future<Output = wasmtime::Result<()>> + Send + use<'a>> {
    let handle = service.wasi_http_handler().func_handle();
    let (call, processed) = accessor.with(|mut store| {
        let http = store.data_mut().http();
        let (request, processed) = p3::Request::from_http(http.hooks, request);
        let processed: Processed = Box::pin(processed);
        let request = http.table.push(request)?;
        let call = handle.start_call_concurrent(&mut store, (request,))?;
        begun(worker, store.data_mut(), &exchange, call.task());
        Ok::<_, wasmtime::Error>((call, processed))
    })?;
    Ok(async move {
        let (answer,) = handle.finish_call_concurrent(accessor, call).await?;
        let answer = match answer {
            Ok(response) => accessor.with(|mut store| {
                let response = store.data_mut().http().table.delete(response)?;
                response.into_http(store, processed).map(Reply::Response).map(Ok)
            })?,
            Err(error) => Err(Ended::Error(format!("{error:?}"))),
        };
        exchange.answer(answer);
        Ok(())
    })
}
