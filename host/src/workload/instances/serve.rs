//! The loop inside a reused instance: takes requests, calls the guest and hands out its answers.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures::stream::{FuturesUnordered, StreamExt as _};
use wasmtime::{Store, component::Accessor};
use wasmtime_wasi_http::{
    WasiHttpView,
    p2::bindings::Proxy,
    p3::{self, bindings::Service},
};

use super::{
    fresh::{Processed, call_p2},
    queue::Job,
    worker::Worker,
};
use crate::workload::{Ended, State, prepare::HttpPre};

/// Makes an instance and lets it answer requests until it fails. Ends it in the worker's books before
/// its store is dropped.
pub(super) async fn serve(worker: Arc<Worker>) {
    let workload = &worker.workload;
    let mut store = match workload.template.store(workload.engine(), None) {
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
    match &worker.workload.http {
        Some(HttpPre::P2(pre)) => {
            let proxy = pre.instantiate_async(&mut *store).await?;
            worker.held(|held| held.up());
            answer_p2(worker, store, &proxy).await
        }
        Some(HttpPre::P3(pre)) => {
            let service = pre.instantiate_async(&mut *store).await?;
            worker.held(|held| held.up());
            answer_p3(worker, store, &service).await
        }
        None => Err(wasmtime::Error::msg("the component does not answer HTTP")),
    }
}

/// One request after the other.
async fn answer_p2(
    worker: &Arc<Worker>,
    store: &mut Store<State>,
    proxy: &Proxy,
) -> wasmtime::Result<()> {
    loop {
        let next = || worker.next(|| true).map_or(Poll::Pending, Poll::Ready);
        let Job { request, exchange } = poll_fn(|_| next()).await;
        store.data_mut().begin(exchange.deadline, exchange.trace, None);
        let answered = Arc::clone(&exchange);
        call_p2(proxy, store, request, move |answer| answered.answer(answer)).await?;
        drop(exchange);
        store.data_mut().settle();
        worker.settle();
    }
}

/// Requests side by side. Each begins when the loop has come round since the one before, so that the
/// guest has begun with that.
async fn answer_p3(
    worker: &Arc<Worker>,
    store: &mut Store<State>,
    service: &Service,
) -> wasmtime::Result<()> {
    let func = *service.wasi_http_handler().func_handle().func();
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
                let is_ready = || accessor.poll_ready_for_concurrent_call(func, cx).is_ready();
                if let Some(job) = worker.next(is_ready) {
                    is_busy = true;
                    match begin(worker, accessor, service, job) {
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
    worker: &Worker,
    accessor: &'a Accessor<State>,
    service: &'a Service,
    job: Job,
) -> wasmtime::Result<impl Future<Output = wasmtime::Result<()>> + Send + use<'a>> {
    let Job { request, exchange } = job;
    let handle = service.wasi_http_handler().func_handle();
    let (call, processed) = accessor.with(|mut store| {
        let http = store.data_mut().http();
        let (request, processed) = p3::Request::from_http(http.hooks, request);
        let processed: Processed = Box::pin(processed);
        let request = http.table.push(request)?;
        let call = handle.start_call_concurrent(&mut store, (request,))?;
        let data = store.data_mut();
        if data.begun() >= 2 * worker.workload.instances.plan.concurrent {
            data.keep_only(&worker.tasks());
        }
        data.begin(exchange.deadline, exchange.trace, Some(call.task()));
        exchange.begun_as(call.task());
        Ok::<_, wasmtime::Error>((call, processed))
    })?;
    Ok(async move {
        let (answer,) = handle.finish_call_concurrent(accessor, call).await?;
        let answer = match answer {
            Ok(response) => accessor.with(|mut store| {
                let response = store.data_mut().http().table.delete(response)?;
                response.into_http(store, processed).map(Ok)
            })?,
            Err(error) => Err(Ended::Error(format!("{error:?}"))),
        };
        exchange.answer(answer);
        Ok(())
    })
}
