//! The bodies of an outbound exchange: the guest's on its way out, the server's on its way in.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until},
};
use wasmtime_wasi_http::{Error, WasiBody};

use super::{outbound::failure, pool::Lease};

/// What both sides of an exchange know of it.
#[derive(Debug, Default)]
struct Exchange {
    /// The guest has given it up.
    given_up: AtomicBool,
    /// A part of the request's body was sent.
    moved: AtomicBool,
}

/// The guest's end of an exchange. Dropped before the exchange is done, it gives it up.
#[derive(Debug)]
pub(super) struct Interest {
    exchange: Arc<Exchange>,
    done: bool,
}

impl Interest {
    /// Whether a part of the request's body was sent since the last call.
    pub(super) fn has_moved(&self) -> bool {
        self.exchange.moved.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        if !self.done {
            self.exchange.given_up.store(true, Ordering::Release);
        }
    }
}

/// A request's body. When the guest gives the exchange up it ends in an error, so that the server does
/// not take what it got for the whole.
#[derive(Debug)]
pub(super) struct RequestBody {
    body: WasiBody,
    exchange: Arc<Exchange>,
}

impl RequestBody {
    pub(super) fn new(body: WasiBody) -> (Self, Interest) {
        let exchange = Arc::new(Exchange::default());
        (Self { body, exchange: Arc::clone(&exchange) }, Interest { exchange, done: false })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if self.exchange.given_up.load(Ordering::Acquire) {
            return Poll::Ready(Some(Err(Error::ConnectionTerminated)));
        }
        if frame.is_ready() {
            self.exchange.moved.store(true, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What is held while a response is read.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) lease: Lease,
    pub(super) interest: Interest,
    /// Counts against the requests that a workload may have at once.
    pub(super) permit: OwnedSemaphorePermit,
}

/// A response's body. Read to its end it gives its connection back; dropped before, it ends it.
#[derive(Debug)]
pub(super) struct ResponseBody {
    body: Incoming,
    held: Option<Held>,
    /// How long the server may be silent while the guest reads.
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl ResponseBody {
    pub(super) fn new(body: Incoming, held: Held, patience: Duration) -> Self {
        let mut new = Self { body, held: Some(held), patience, timer: None, is_waiting: false };
        if new.body.is_end_stream() {
            new.finish();
        }
        new
    }

    fn finish(&mut self) {
        if let Some(Held { lease, mut interest, permit }) = self.held.take() {
            interest.done = true;
            drop(permit);
            lease.give_back();
        }
    }

    /// Counts the time from when the server was first waited for.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let until = Instant::now() + self.patience;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if !std::mem::replace(&mut self.is_waiting, true) {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx).is_ready()
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
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Pending if this.is_overdue(cx) => {
                this.held = None;
                return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
            }
            Poll::Pending => return Poll::Pending,
            Poll::Ready(frame) => frame,
        };
        this.is_waiting = false;
        match &frame {
            Some(Ok(_)) if this.body.is_end_stream() => this.finish(),
            Some(Ok(_)) => {}
            Some(Err(_)) => this.held = None,
            None => this.finish(),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| failure(&error))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
