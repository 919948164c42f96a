//! Answers that may be at hand.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use crate::Error;

/// What a backend answers: at once, or later. A future that is ready on its first poll where the
/// answer is at hand, and that allocates nothing then.
#[derive(Debug)]
#[must_use = "an answer is a future"]
pub enum Answer<T> {
    /// At hand; none once it was taken.
    Ready(Option<Result<T, Error>>),
    /// To come from another thread.
    Later(oneshot::Receiver<Result<T, Error>>),
}

impl<T> Answer<T> {
    /// An answer that is at hand.
    pub fn ready(result: Result<T, Error>) -> Self {
        Self::Ready(Some(result))
    }
}

impl<T: Send + 'static> Answer<T> {
    /// The answer of `work`, which may block: on a thread of the current tokio runtime that is there
    /// for this, or here and now where there is no runtime.
    pub fn blocking(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Self {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let (reply, answer) = oneshot::channel();
                runtime.spawn_blocking(move || {
                    // Whoever asked may have gone.
                    drop(reply.send(work()));
                });
                Self::Later(answer)
            }
            Err(_) => Self::ready(work()),
        }
    }
}

impl<T: Unpin> Future for Answer<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let lost =
            || Err(Error::Unavailable("the store was closed, or its thread has ended".into()));
        match self.get_mut() {
            Self::Ready(result) => Poll::Ready(result.take().unwrap_or_else(lost)),
            Self::Later(answer) => {
                Pin::new(answer).poll(context).map(|sent| sent.unwrap_or_else(|_| lost()))
            }
        }
    }
}
