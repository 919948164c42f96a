//! The body of a response, as the guest writes it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use tokio::{sync::oneshot, task::AbortHandle};
use wasmtime_wasi_http::{Error, WasiBody};

use super::{super::limits::Progress, exchange::Exchange};

/// The body of a response, as the guest writes it.
///
/// Dropped before its end, for the client is gone, it ends the request. Read to its end, it leaves the
/// guest to finish what it does. Where the guest failed, it ends in an error and not as if complete.
#[derive(Debug)]
pub struct ResponseBody {
    body: WasiBody,
    left: Option<u64>,
    is_read: bool,
    guest: Guest,
}

/// Who writes a body.
pub(super) enum Guest {
    /// A guest that has an instance of its own, and goes on in a task if it is not done.
    Fresh { progress: Arc<Progress>, task: Option<AbortHandle>, _held: oneshot::Sender<()> },
    /// A guest whose instance has other requests.
    Shared(Arc<Exchange>),
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fresh { .. } => "Fresh",
            Self::Shared(_) => "Shared",
        })
    }
}

impl Guest {
    fn has_failed(&self) -> bool {
        match self {
            Self::Fresh { progress, .. } => progress.has_failed(),
            Self::Shared(exchange) => exchange.has_failed(),
        }
    }

    /// Whether the guest was ended while its body waits for it, and will never end by itself.
    fn is_cut(&self, cx: &Context<'_>) -> bool {
        match self {
            // Its store is gone then, and with it the other end of the body.
            Self::Fresh { .. } => false,
            Self::Shared(exchange) => {
                exchange.wake_when_cut(cx);
                exchange.has_failed()
            }
        }
    }
}

impl ResponseBody {
    /// The response to a request of this method, with its body.
    pub(super) fn of(
        response: http::Response<WasiBody>,
        method: &Method,
        guest: Guest,
    ) -> http::Response<Self> {
        let left: Option<u64> = response
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok())
            .and_then(|length| length.parse().ok());
        // Nobody asks for what has been said to be nothing.
        let is_read = *method == Method::HEAD
            || is_bodiless(response.status())
            || left == Some(0)
            || response.body().is_end_stream();
        response.map(|body| Self { body, left, is_read, guest })
    }

    /// Whether it was read to its end, or is of a response that has none to read.
    pub fn is_read(&self) -> bool {
        self.is_read
    }
}

/// Statuses whose responses have no body, so that nobody will read it.
fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
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
            Poll::Ready(frame) => frame,
            Poll::Pending if this.guest.is_cut(cx) => {
                return Poll::Ready(Some(Err(Error::HttpResponseIncomplete)));
            }
            Poll::Pending => return Poll::Pending,
        };
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
            None if this.guest.has_failed() => {
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
        match &mut self.guest {
            Guest::Fresh { task, .. } => {
                if let Some(guest) = task.take()
                    && !self.is_read
                {
                    guest.abort();
                }
            }
            Guest::Shared(exchange) if self.is_read => exchange.finish(),
            Guest::Shared(exchange) => exchange.leave(),
        }
    }
}
