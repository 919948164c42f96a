//! One request and its response, as the connection and the instance share them.
//!
//! The connection waits for the head of the response, reads the body and may leave at any time; the
//! instance answers, or ends. Whoever of the two comes last releases the request: its place among those
//! that may run, and its count.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures::task::AtomicWaker;
use tracing::Span;
use wasmtime::component::GuestTaskId;
use wasmtime_wasi_http::WasiBody;

use super::{super::admission::Permit, lock, worker::Worker};
use crate::{
    boundary::invoke::Results,
    workload::{Ended, Workload, caller::Caller},
};

/// What an instance answers.
pub(super) enum Reply {
    /// The head of a response, with the body that follows it.
    Response(http::Response<WasiBody>),
    /// All results of a call.
    Results(Results),
}

/// That, or why there is none.
pub(super) type Answer = Result<Reply, Ended>;

/// One request and its response.
pub(super) struct Exchange {
    workload: Arc<Workload>,
    pub(super) caller: Caller,
    /// The span that lines of the log about it are in.
    pub(super) span: Span,
    /// The guest's task for it.
    pub(super) task: OnceLock<GuestTaskId>,
    /// Whether the guest is known to be done with it.
    is_settled: AtomicBool,
    has_failed: AtomicBool,
    reader: AtomicWaker,
    /// The instance that it was given to.
    worker: OnceLock<Arc<Worker>>,
    state: Mutex<State>,
}

struct State {
    head: Head,
    permit: Option<Permit>,
    /// Whether its end has been counted, or is counted by whoever reports it.
    is_counted: bool,
}

enum Head {
    /// By the connection, if it has asked.
    Awaited(Option<Waker>),
    There(Box<Answer>),
    Taken,
    /// The client left.
    Unwanted,
}

impl Exchange {
    pub(super) fn new(workload: &Arc<Workload>, caller: Caller, permit: Permit) -> Arc<Self> {
        workload.meters.running(1.0);
        workload.instances.request_began();
        Arc::new(Self {
            workload: Arc::clone(workload),
            caller,
            span: Span::current(),
            task: OnceLock::new(),
            is_settled: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            worker: OnceLock::new(),
            state: Mutex::new(State {
                head: Head::Awaited(None),
                permit: Some(permit),
                is_counted: false,
            }),
        })
    }

    /// Gives it to an instance, unless the client has left.
    pub(super) fn begin(&self, worker: &Arc<Worker>) -> bool {
        let state = lock(&self.state);
        match state.head {
            Head::Unwanted => false,
            Head::Awaited(_) | Head::There(_) | Head::Taken => {
                self.worker.set(Arc::clone(worker)).is_ok()
            }
        }
    }

    /// Says which task the guest does it in.
    pub(super) fn begun_as(&self, task: GuestTaskId) {
        self.task.get_or_init(|| task);
    }

    /// Answers it; nobody hears where the client has left or it has an answer. An error is counted by
    /// whoever waits for the head.
    pub(super) fn answer(&self, answer: Answer) {
        let mut state = lock(&self.state);
        let Head::Awaited(waker) = &mut state.head else { return };
        let waker = waker.take();
        state.is_counted |= answer.is_err();
        state.head = Head::There(Box::new(answer));
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends it badly: the connection gets an error if it has no head yet, and else a body that is cut.
    /// Returns the error where it is the caller's to report.
    pub(super) fn fail(&self, ended: Ended) -> Option<Ended> {
        let mut state = lock(&self.state);
        state.is_counted = true;
        match &state.head {
            Head::Awaited(_) => {
                drop(state);
                self.answer(Err(ended));
                None
            }
            // Nothing of it has reached the client.
            Head::There(_) => {
                state.head = Head::There(Box::new(Err(ended)));
                None
            }
            Head::Taken | Head::Unwanted => {
                drop(state);
                self.has_failed.store(true, Ordering::Release);
                self.reader.wake();
                Some(ended)
            }
        }
    }

    /// Whether the connection still waits for an answer, or has not taken it yet.
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(lock(&self.state).head, Head::Awaited(_) | Head::There(_))
    }

    /// Polled by the connection, for the answer.
    pub(super) fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut state = lock(&self.state);
        if let Head::Awaited(waker) = &mut state.head {
            match waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => *waker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        match std::mem::replace(&mut state.head, Head::Taken) {
            Head::There(answer) => Poll::Ready(*answer),
            // Polled after its end.
            Head::Awaited(_) | Head::Taken | Head::Unwanted => Poll::Pending,
        }
    }

    /// Called when the connection needs nothing more of it: its body was read to the end, or it got an
    /// error.
    pub(super) fn finish(self: &Arc<Self>) {
        match self.worker.get() {
            Some(worker) => worker.was_read(self),
            None => self.release(Released::Well),
        }
    }

    /// Called when the client left before it had the whole response.
    pub(super) fn leave(self: &Arc<Self>) {
        let unheard = std::mem::replace(&mut lock(&self.state).head, Head::Unwanted);
        drop(unheard);
        match self.worker.get() {
            Some(worker) => worker.was_left(self),
            None => {
                self.count(Released::Cancelled);
                self.release(Released::Cancelled);
            }
        }
    }

    /// Whether its body must end in an error.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Wakes who reads the body when it is cut.
    pub(super) fn wake_when_cut(&self, cx: &Context<'_>) {
        self.reader.register(cx.waker());
    }

    /// Says that the guest is done with it. Comes under the lock of its worker.
    pub(super) fn settle(&self) {
        self.is_settled.store(true, Ordering::Relaxed);
    }

    /// Whether the guest is done with it. Asked under the lock of its worker.
    pub(super) fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Relaxed)
    }

    /// Counts how it ended, unless that has been done.
    pub(super) fn count(&self, how: Released) {
        let is_counted = std::mem::replace(&mut lock(&self.state).is_counted, true);
        match how {
            _ if is_counted => {}
            Released::Well => self.workload.meters.well(),
            Released::Cancelled => {
                self.workload.meters.cancelled();
                self.span.in_scope(|| {
                    tracing::debug!(workload = %self.workload.name(), "the client left");
                });
            }
        }
    }

    /// Gives its place to the next.
    pub(super) fn release(&self, how: Released) {
        self.count(how);
        let permit = lock(&self.state).permit.take();
        if permit.is_some() {
            self.workload.meters.running(-1.0);
            self.workload.instances.request_ended();
        }
    }
}

/// How a request ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Released {
    Well,
    Cancelled,
}

/// The connection's side of an exchange until there is a head. Dropped before, it says that the client
/// left.
pub(super) struct Awaiting(Option<Arc<Exchange>>);

impl Awaiting {
    pub(super) fn new(exchange: Arc<Exchange>) -> Self {
        Self(Some(exchange))
    }

    /// What the instance answers, and the exchange that a body goes on with.
    pub(super) async fn reply(mut self) -> Result<(Reply, Arc<Exchange>), Ended> {
        let Some(exchange) = self.0.clone() else { return Err(Ended::NoResponse) };
        let answer = std::future::poll_fn(|cx| exchange.poll_head(cx)).await;
        self.0 = None;
        match answer {
            Ok(reply) => Ok((reply, exchange)),
            Err(ended) => {
                exchange.finish();
                Err(ended)
            }
        }
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            exchange.leave();
        }
    }
}
