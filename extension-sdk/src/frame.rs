//! A handler's future: polled once in a recycled block of memory, and handed to the host only if its
//! answer is not at hand.

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    cell::Cell,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    ptr::NonNull,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use abi_stable::std_types::{RErr, ROk};
use async_ffi::FfiFuture;
use backplane_abi::{CallContext, Finished, Outcome};

use crate::{
    Failure, Host,
    failure::to_failed,
    module::{Bound, BoundRef},
    panics::catch,
    runtime,
};

type Answer = Result<Vec<u8>, Failure>;

/// Runs a handler's future as far as it goes. An answer at hand costs no allocation besides its own.
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
    let mut frame = Frame::new(|| make(bound.context(*call)));
    let polled = catch(|| {
        runtime::within(bound.host(), || frame.poll(&mut Context::from_waker(Waker::noop())))
    });
    match polled {
        Ok(Poll::Ready(Ok(bytes))) => Outcome::Ready(bytes.into()),
        Ok(Poll::Ready(Err(failure))) | Err(failure) => Outcome::Failed(to_failed(failure)),
        Ok(Poll::Pending) => {
            let (host, bound) = (*bound.host(), Some(bound.keep()));
            Outcome::Pending(FfiFuture::new(Pending { frame, host, bound }))
        }
    }
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
            Ok(Poll::Ready(Ok(bytes))) => Poll::Ready(ROk(bytes.into())),
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
    memory: Memory,
    /// Whether an `F` stands in the memory.
    holds: bool,
    future: PhantomData<F>,
}

// SAFETY: the frame owns its future and its memory alone.
unsafe impl<F: Send> Send for Frame<F> {}

impl<F: Future<Output = Answer>> Frame<F> {
    #[inline]
    fn new(make: impl FnOnce() -> F) -> Self {
        let memory = Memory::new(Layout::new::<F>());
        // SAFETY: the memory is the frame's alone, and has room and alignment for an `F`.
        unsafe { memory.start.cast::<F>().write(make()) };
        Self { memory, holds: true, future: PhantomData }
    }

    /// Polls the future, and ends it once it has answered.
    #[inline]
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Answer> {
        if !self.holds {
            return Poll::Ready(Err(Failure::new("a call was polled after it had ended")));
        }
        // SAFETY: `new` wrote an `F` there, and it has not been dropped. It stays there until `end`
        // and never moves: that is what pinning asks for.
        let future = unsafe { Pin::new_unchecked(self.memory.start.cast::<F>().as_mut()) };
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
        if std::mem::take(&mut self.holds) {
            // SAFETY: `new` wrote an `F` there, and `holds` says that it has not been dropped.
            unsafe { self.memory.start.cast::<F>().drop_in_place() }
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

/// The block that each thread keeps for the next call: most futures fit.
const SPARE: Layout = match Layout::from_size_align(1024, 64) {
    Ok(layout) => layout,
    Err(_) => Layout::new::<u64>(),
};

thread_local! {
    static SPARE_BLOCK: Cell<Option<Spare>> = const { Cell::new(None) };
}

/// A block of layout `SPARE` that nobody uses.
struct Spare(NonNull<u8>);

impl Drop for Spare {
    fn drop(&mut self) {
        // SAFETY: the block was allocated with this layout, and the spare is its only owner.
        unsafe { dealloc(self.0.as_ptr(), SPARE) }
    }
}

impl Memory {
    #[inline]
    fn new(wanted: Layout) -> Self {
        if wanted.size() > SPARE.size() || wanted.align() > SPARE.align() {
            return Self::allocate(wanted);
        }
        // A thread that ends has no spare block any more.
        match SPARE_BLOCK.try_with(Cell::take) {
            Ok(Some(spare)) => {
                let start = spare.0;
                std::mem::forget(spare);
                Self { start, layout: SPARE }
            }
            Ok(None) | Err(_) => Self::allocate(SPARE),
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
}

impl Drop for Memory {
    #[inline]
    fn drop(&mut self) {
        if self.layout == SPARE {
            let spare = Spare(self.start);
            // Where the thread has one already, or ends, the block is freed.
            drop(SPARE_BLOCK.try_with(|block| block.replace(Some(spare))));
        } else {
            // SAFETY: `allocate` made it with this layout, and the memory is its only owner.
            unsafe { dealloc(self.start.as_ptr(), self.layout) }
        }
    }
}
