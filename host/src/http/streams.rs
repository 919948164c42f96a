//! Runs the streams of HTTP/2 connections, each in a task, and ends those whose client takes nothing.
//!
//! A stream whose client opens no window for it waits without its body being asked for more, whatever
//! else moves on its connection. So the body says, on the way out, whether it gave something or has
//! nothing to give; and the one who polls the stream hears it.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

/// What the body of the stream that is polled now did last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// It was not asked.
    Unasked,
    /// It gave something for the client.
    Gave,
    /// It has nothing to give yet.
    Waits,
}

thread_local! {
    static BODY: Cell<Body> = const { Cell::new(Body::Unasked) };
    static IS_CUTTING: Cell<bool> = const { Cell::new(false) };
}

/// Whether what is dropped now is a stream whose client took nothing in its time.
pub(super) fn is_cutting() -> bool {
    IS_CUTTING.get()
}

impl Body {
    /// Says what a body did, to the stream that is being polled on this thread.
    pub(super) fn tell(self) {
        BODY.set(self);
    }
}

/// Spawns streams that are ended when their client takes nothing for so long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams {
    pub(super) limit: Option<Duration>,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let stream = Some(stream);
        tokio::spawn(Stream { stream, limit: self.limit, is_behind: false, timer: None });
    }
}

pin_project! {
    struct Stream<F> {
        // None once it was ended.
        #[pin]
        stream: Option<F>,
        limit: Option<Duration>,
        // Whether the client has yet to take what the body gave last.
        is_behind: bool,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        BODY.set(Body::Unasked);
        let Some(stream) = this.stream.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        if stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(limit) = *this.limit else { return Poll::Pending };
        match BODY.get() {
            Body::Gave => {
                *this.is_behind = true;
                *this.timer = Some(Box::pin(sleep(limit)));
            }
            Body::Waits => *this.is_behind = false,
            Body::Unasked => {}
        }
        match this.timer {
            Some(timer) if *this.is_behind => {
                ready!(timer.as_mut().poll(cx));
                tracing::debug!("a stream was reset: its client took nothing of it in its time");
                // Its drop resets it.
                IS_CUTTING.set(true);
                this.stream.set(None);
                IS_CUTTING.set(false);
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    }
}
