//! A handler's future: polled once in a recycled block of memory, and handed to the host only if its
//! answer is not at hand.

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    future::Future,
    marker::PhantomData,
    pin::Pin,
    ptr::NonNull,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use abi_stable::std_types::{RErr, ROk};
use async_ffi::FfiFuture;
use backplane_abi::{Buffer, CallContext, Finished, Outcome};

use crate::{
    Failure, Host,
    failure::to_failed,
    local::{self, BLOCK, Local},
    module::{Bound, BoundRef},
    panics::catch,
    runtime,
};

type Answer = Result<Buffer, Failure>;

/// Runs a handler's future as far as it goes. An answer at hand costs no allocation, but for one that
/// is large.
///
/// The future is made by `make`, in the place where it stays: it is never copied.
#[inline]
pub fn answer<B, F>(
    bound: BoundRef<B>,
    call: &CallContext,
    make: impl FnOnce(crate::Context) -> F,
) -> Outcome
where
    B: Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    local::with(|local| answer_here(local, bound, call, make)).unwrap_or_else(no_thread)
}

#[inline]
fn answer_here<B, F>(
    local: &Local,
    bound: BoundRef<B>,
    call: &CallContext,
    make: impl FnOnce(crate::Context) -> F,
) -> Outcome
where
    B: Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let mut frame = Frame::new(local, || make(bound.context(*call)));
    let polled = catch(|| {
        let poll = || frame.poll(&mut Context::from_waker(Waker::noop()));
        runtime::within_here(local, bound.host(), poll)
    });
    match polled {
        Ok(Poll::Ready(ended)) => {
            frame.give_back(local);
            match ended {
                Ok(answer) => Outcome::Ready(answer),
                Err(failure) => Outcome::Failed(to_failed(failure)),
            }
        }
        Err(failure) => Outcome::Failed(to_failed(failure)),
        Ok(Poll::Pending) => {
            let (host, bound) = (*bound.host(), Some(bound.keep()));
            Outcome::Pending(FfiFuture::new(Pending { frame, host, bound }))
        }
    }
}

/// A call from the destructor of another library's thread-local value.
#[cold]
fn no_thread() -> Outcome {
    Outcome::Failed(to_failed(Failure::new("the thread that calls is ending")))
}

/// A call whose answer is not at hand. Dropped before it is finished, it is cancelled.
struct Pending<B, F: Future<Output = Answer>> {
    frame: Frame<F>,
    host: Host,
    /// The future refers to the binding, so it goes first.
    bound: Option<Arc<Bound<B>>>,
}

impl<B, F: Future<Output = Answer>> Future for Pending<B, F> {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Finished> {
        let polled = catch(|| {
            let this = &mut *self;
            runtime::within(&this.host, || this.frame.poll(context))
        });
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Ok(answer))) => Poll::Ready(ROk(answer)),
            Ok(Poll::Ready(Err(failure))) | Err(failure) => Poll::Ready(RErr(to_failed(failure))),
        }
    }
}

// The future in the frame does not move with it, and the binding is behind a pointer.
impl<B, F: Future<Output = Answer>> Unpin for Pending<B, F> {}

impl<B, F: Future<Output = Answer>> Drop for Pending<B, F> {
    fn drop(&mut self) {
        let dropped = catch(|| {
            runtime::within(&self.host, || self.frame.end());
        });
        let unbound = catch(|| self.bound = None);
        if let Err(failure) = dropped.and(unbound) {
            tracing::error!("a cancelled call {failure}");
        }
    }
}

/// A pinned future in memory of its own, like `Pin<Box<F>>` with recycled memory.
///
/// It holds its future until the future has answered or panicked, or `end` is called.
struct Frame<F> {
    /// None once it was given back.
    memory: Option<Memory>,
    /// Whether an `F` stands in the memory.
    holds: bool,
    future: PhantomData<F>,
}

// SAFETY: the frame owns its future and its memory alone.
unsafe impl<F: Send> Send for Frame<F> {}

impl<F: Future<Output = Answer>> Frame<F> {
    #[inline]
    fn new(local: &Local, make: impl FnOnce() -> F) -> Self {
        let memory = Memory::new(Layout::new::<F>(), local);
        // SAFETY: the memory is the frame's alone, and has room and alignment for an `F`.
        unsafe { memory.start.cast::<F>().write(make()) };
        Self { memory: Some(memory), holds: true, future: PhantomData }
    }

    /// Polls the future, and ends it once it has answered.
    #[inline]
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Answer> {
        let (true, Some(memory)) = (self.holds, &self.memory) else {
            return Poll::Ready(Err(Failure::new("a call was polled after it had ended")));
        };
        // SAFETY: `new` wrote an `F` there, and it has not been dropped. It stays there until `end`
        // and never moves: that is what pinning asks for.
        let future = unsafe { Pin::new_unchecked(memory.start.cast::<F>().as_mut()) };
        let polled = future.poll(context);
        if polled.is_ready() {
            self.end();
        }
        polled
    }
}

impl<F> Frame<F> {
    /// Drops the future. Its destructor may panic, and then is not run again.
    #[inline]
    fn end(&mut self) {
        if let Some(memory) = &self.memory
            && std::mem::take(&mut self.holds)
        {
            // SAFETY: `new` wrote an `F` there, and `holds` says that it has not been dropped.
            unsafe { memory.start.cast::<F>().drop_in_place() }
        }
    }

    /// Gives the memory of a future that has answered to the next call on this thread.
    #[inline]
    fn give_back(mut self, local: &Local) {
        if !self.holds
            && let Some(memory) = self.memory.take()
        {
            memory.keep(local);
        }
    }
}

impl<F> Drop for Frame<F> {
    #[inline]
    fn drop(&mut self) {
        if self.holds {
            // After a panic in its poll. What is left of a future then is nothing but its state.
            if let Err(failure) = catch(|| self.end()) {
                tracing::error!("the end of a call {failure}");
            }
        }
    }
}

/// Memory for a future.
struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

impl Memory {
    #[inline]
    fn new(wanted: Layout, local: &Local) -> Self {
        if wanted.size() > BLOCK.size() || wanted.align() > BLOCK.align() {
            return Self::allocate(wanted);
        }
        match local.take_block() {
            Some(start) => Self { start, layout: BLOCK },
            None => Self::allocate(BLOCK),
        }
    }

    #[cold]
    fn allocate(layout: Layout) -> Self {
        // SAFETY: no layout that gets here has size 0: a future holds its arguments.
        let start = unsafe { alloc(layout) };
        match NonNull::new(start) {
            Some(start) => Self { start, layout },
            None => handle_alloc_error(layout),
        }
    }

    /// Gives the memory to the next call on this thread.
    #[inline]
    fn keep(self, local: &Local) {
        if self.layout == BLOCK {
            let start = self.start;
            std::mem::forget(self);
            // SAFETY: it was allocated with that layout, and is given up here.
            unsafe { local.keep_block(start) }
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `allocate` made it with this layout, and the memory is its only owner.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}
