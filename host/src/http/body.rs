//! Bodies: a request's, cut off at its limit, and a response's, by the guest or by the host.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use wasmtime_wasi_http::Error;

use super::record::Record;
use crate::workload::ResponseBody;

/// A request's body, which fails for the guest where it grows beyond the limit.
pub(super) struct Limited {
    body: Incoming,
    limit: u64,
    left: u64,
    exceeded: Arc<AtomicBool>,
}

impl Limited {
    /// The body, and a flag that tells whether it was too large.
    pub(super) fn new(body: Incoming, limit: u64) -> (Self, Arc<AtomicBool>) {
        let exceeded = Arc::new(AtomicBool::new(false));
        (Self { body, limit, left: limit, exceeded: Arc::clone(&exceeded) }, exceeded)
    }
}

impl Body for Limited {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            match this.left.checked_sub(data.len() as u64) {
                Some(left) => this.left = left,
                None => {
                    this.left = 0;
                    this.exceeded.store(true, Ordering::Relaxed);
                    return Poll::Ready(Some(Err(Error::HttpRequestBodySize(Some(this.limit)))));
                }
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Error::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response's body, with the record that is logged when it is gone.
pub(super) struct Reply {
    body: Source,
    record: Record,
}

enum Source {
    Guest(ResponseBody),
    Host(Full<Bytes>),
}

impl Reply {
    pub(super) fn guest(body: ResponseBody, record: Record) -> Self {
        Self { body: Source::Guest(body), record }
    }

    pub(super) fn host(text: impl Into<Bytes>, record: Record) -> Self {
        Self { body: Source::Host(Full::new(text.into())), record }
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
        let frame = ready!(match &mut this.body {
            Source::Guest(body) => Pin::new(body).poll_frame(cx),
            Source::Host(body) => Pin::new(body).poll_frame(cx).map_err(Error::from),
        });
        match &frame {
            Some(Ok(frame)) => this.record.sent(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(_)) => this.record.cut_off(),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Source::Guest(body) => body.is_end_stream(),
            Source::Host(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Source::Guest(body) => body.size_hint(),
            Source::Host(body) => body.size_hint(),
        }
    }
}
