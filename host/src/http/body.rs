//! Bodies: a request's, cut off at its limit, and a response's, by the guest or by the host.

use std::{
    future::Future as _,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};
use wasmtime_wasi_http::Error;

use super::{activity::Activity, record::Record, streams};
use crate::workload::ResponseBody;

/// What was wrong with a request's body, for the one who answers.
#[derive(Debug, Clone, Default)]
pub(super) struct Fault(Option<Arc<AtomicU8>>);

impl Fault {
    const TOO_LARGE: u8 = 1;
    const TOO_SLOW: u8 = 2;

    fn set(&self, fault: u8) {
        if let Some(place) = &self.0 {
            place.store(fault, Ordering::Relaxed);
        }
    }

    /// The status that says it; none if nothing was wrong.
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self.0.as_ref()?.load(Ordering::Relaxed) {
            Self::TOO_LARGE => Some(StatusCode::PAYLOAD_TOO_LARGE),
            Self::TOO_SLOW => Some(StatusCode::REQUEST_TIMEOUT),
            _ => None,
        }
    }
}

/// A request's body, which fails for the guest where it grows beyond the limit, or where the guest
/// waits for it and nothing comes.
pub(super) struct RequestBody {
    body: Incoming,
    limit: u64,
    left: u64,
    timeout: Option<Duration>,
    /// Runs while the guest waits.
    waiting: Option<Pin<Box<Sleep>>>,
    fault: Fault,
    is_read: bool,
    activity: Arc<Activity>,
}

impl RequestBody {
    /// The body, and what will be wrong with it.
    pub(super) fn new(
        body: Incoming,
        limit: u64,
        timeout: Option<Duration>,
        activity: &Arc<Activity>,
    ) -> (Self, Fault) {
        let is_read = body.is_end_stream();
        // Most requests have no body, and nothing to go wrong with it.
        let fault = Fault((!is_read).then(Arc::default));
        let activity = Arc::clone(activity);
        let waiting = None;
        let left = limit;
        let it =
            Self { body, limit, left, timeout, waiting, fault: fault.clone(), is_read, activity };
        (it, fault)
    }

    /// Ends a wait that has lasted too long.
    fn in_time(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let Some(timeout) = self.timeout else { return Poll::Pending };
        ready!(self.waiting.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(cx));
        self.fault.set(Fault::TOO_SLOW);
        Poll::Ready(Error::ConnectionReadTimeout)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            return this.in_time(cx).map(|error| Some(Err(error)));
        };
        this.waiting = None;
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            match this.left.checked_sub(data.len() as u64) {
                Some(left) => this.left = left,
                None => {
                    this.left = 0;
                    this.fault.set(Fault::TOO_LARGE);
                    return Poll::Ready(Some(Err(Error::HttpRequestBodySize(Some(this.limit)))));
                }
            }
        }
        this.is_read |=
            frame.as_ref().is_none_or(|frame| frame.as_ref().is_ok_and(Frame::is_trailers));
        Poll::Ready(frame.map(|frame| frame.map_err(Error::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.is_read && !self.body.is_end_stream() {
            self.activity.left_unread();
        }
    }
}

/// A response's body, with the record that is logged when it is gone.
pub(super) struct Reply {
    body: Source,
    record: Record,
    /// Whether its client is to see none of it. Over HTTP/1.1 hyper sees to that.
    is_withheld: bool,
}

enum Source {
    Guest(ResponseBody),
    Host(Full<Bytes>),
}

impl Reply {
    pub(super) fn guest(body: ResponseBody, record: Record) -> Self {
        Self::new(Source::Guest(body), record)
    }

    pub(super) fn host(text: impl Into<Bytes>, record: Record) -> Self {
        Self::new(Source::Host(Full::new(text.into())), record)
    }

    fn new(body: Source, record: Record) -> Self {
        let is_withheld = record.is_multiplexed() && record.has_no_body();
        Self { body, record, is_withheld }
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Source::Guest(body) = &self.body
            && !body.is_read()
        {
            self.record.left();
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if this.is_withheld {
            return Poll::Ready(None);
        }
        let polled = match &mut this.body {
            Source::Guest(body) => Pin::new(body).poll_frame(cx),
            Source::Host(body) => Pin::new(body).poll_frame(cx).map_err(Error::from),
        };
        let Poll::Ready(frame) = polled else {
            streams::Body::Waits.tell();
            return Poll::Pending;
        };
        streams::Body::Gave.tell();
        match &frame {
            Some(Ok(frame)) => this.record.sent(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(_)) => this.record.cut_off(),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_withheld
            || match &self.body {
                Source::Guest(body) => body.is_end_stream(),
                Source::Host(body) => body.is_end_stream(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            // Nothing is known of what the body would have been.
            _ if self.is_withheld => SizeHint::default(),
            Source::Guest(body) => body.size_hint(),
            Source::Host(body) => body.size_hint(),
        }
    }
}
