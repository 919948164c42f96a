//! A handler's future: polled once in a recycled block of memory, and handed to the host only if its
//! answer is not at hand.

use std::{
    alloc::Layout,
    future::Future,
    marker::PhantomData,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use abi_stable::std_types::{RErr, ROk};
use async_ffi::FfiFuture;
use backplane_abi::{Buffer, CallContext, Finished, Outcome};
use backplane_wire::{Encode, Form, Writer};

use crate::{
    Failure,
    failure::to_failed,
    host::form,
    log,
    module::{Bound, BoundRef},
    panics::catch,
    resource::{Table, with_table},
    runtime,
    scratch::{self, Block, Scratch},
};

type Answer<T> = Result<T, Failure>;

/// Runs a handler's future as far as it goes. `HANDLES` says that the result has resources in it,
/// which get their handles when it is encoded.
///
/// The future is made by `make`, in the place where it stays: it is never copied.
#[inline]
pub fn answer<B, F, T, const HANDLES: bool>(
    bound: BoundRef<B>,
    call: &CallContext,
    make: impl FnOnce(crate::Context) -> F,
) -> Outcome
where
    B: Send + Sync + 'static,
    F: Future<Output = Answer<T>> + Send + 'static,
    T: Encode + 'static,
{
    let outcome = catch(|| {
        scratch::with(|scratch| {
            let _entered = (runtime::enter(scratch), log::inside(bound.host()));
            let block = scratch.block(Layout::new::<F>());
            let mut frame = Frame::new(block, || make(bound.context(*call)));
            match frame.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(result) => {
                    scratch.keep(frame.into_block());
                    match result {
                        Ok(value) => {
                            let bytes =
                                encode::<T, HANDLES>(scratch, bound.table(), form(call), &value);
                            Outcome::Ready(bytes)
                        }
                        Err(failure) => Outcome::Failed(to_failed(failure)),
                    }
                }
                Poll::Pending => {
                    let (form, kept) = (form(call), Some(bound.keep()));
                    let pending = Pending::<B, F, T, HANDLES> { frame, form, bound, kept };
                    Outcome::Pending(FfiFuture::new(pending))
                }
            }
        })
    });
    match outcome {
        Ok(outcome) => outcome,
        Err(failure) => Outcome::Failed(to_failed(failure)),
    }
}

#[inline]
fn encode<T: Encode, const HANDLES: bool>(
    scratch: &Scratch,
    table: &'static Table,
    form: Form,
    value: &T,
) -> Buffer {
    let mut writer = Writer::append_to(scratch.result(value.size_hint()), form);
    if HANDLES {
        with_table(table, || value.encode(&mut writer));
    } else {
        value.encode(&mut writer);
    }
    scratch::into_buffer(writer.into_vec())
}

/// A call whose answer is not at hand. Dropped before it is finished, it is cancelled.
struct Pending<B: 'static, F, T, const HANDLES: bool>
where
    F: Future<Output = Answer<T>>,
{
    frame: Frame<F>,
    form: Form,
    bound: BoundRef<B>,
    /// Keeps `bound` alive. The future refers to it, so that goes first.
    kept: Option<Arc<Bound<B>>>,
}

impl<B, F, T: Encode, const HANDLES: bool> Future for Pending<B, F, T, HANDLES>
where
    F: Future<Output = Answer<T>>,
{
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Finished> {
        let this = &mut *self;
        let polled = catch(|| {
            let bound = this.bound;
            scratch::with(|scratch| {
                let _entered = (runtime::enter(scratch), log::inside(bound.host()));
                this.frame.poll(context).map(|result| {
                    let form = this.form;
                    result.map(|value| encode::<T, HANDLES>(scratch, bound.table(), form, &value))
                })
            })
        });
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Ok(bytes))) => Poll::Ready(ROk(bytes)),
            Ok(Poll::Ready(Err(failure))) | Err(failure) => Poll::Ready(RErr(to_failed(failure))),
        }
    }
}

// The future in the frame does not move with it, and the binding is behind a pointer.
impl<B, F, T, const HANDLES: bool> Unpin for Pending<B, F, T, HANDLES> where
    F: Future<Output = Answer<T>>
{
}

impl<B, F, T, const HANDLES: bool> Drop for Pending<B, F, T, HANDLES>
where
    F: Future<Output = Answer<T>>,
{
    fn drop(&mut self) {
        let _inside = log::inside(self.bound.host());
        let dropped = catch(|| {
            scratch::with(|scratch| {
                let _entered = runtime::enter(scratch);
                self.frame.end();
            });
        });
        let unbound = catch(|| self.kept = None);
        if let Err(failure) = dropped.and(unbound) {
            tracing::error!("a cancelled call {failure}");
        }
    }
}

/// A pinned future in memory of its own, like `Pin<Box<F>>` with recycled memory.
///
/// It holds its future until the future has answered or panicked, or `end` is called.
struct Frame<F> {
    block: Block,
    /// Whether an `F` stands in the block.
    holds: bool,
    future: PhantomData<F>,
}

// SAFETY: the frame owns its future and its memory alone.
unsafe impl<F: Send> Send for Frame<F> {}

impl<F> Frame<F> {
    /// `block` has the layout of `F`.
    #[inline]
    fn new(block: Block, make: impl FnOnce() -> F) -> Self {
        debug_assert!(block.start().cast::<F>().is_aligned());
        // SAFETY: the block is the frame's alone, with room and alignment for an `F`.
        unsafe { block.start().cast::<F>().write(make()) };
        Self { block, holds: true, future: PhantomData }
    }

    /// The memory, for another. The future must have ended.
    #[inline]
    fn into_block(mut self) -> Block {
        if self.holds { Block::none() } else { mem::replace(&mut self.block, Block::none()) }
    }

    /// Drops the future. Its destructor may panic, and then is not run again.
    #[inline]
    fn end(&mut self) {
        if mem::take(&mut self.holds) {
            // SAFETY: `new` wrote an `F` there, and `holds` says that it has not been dropped.
            unsafe { self.block.start().cast::<F>().drop_in_place() }
        }
    }
}

impl<F, T> Frame<F>
where
    F: Future<Output = Answer<T>>,
{
    /// Polls the future, and ends it once it has answered.
    #[inline]
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Answer<T>> {
        if !self.holds {
            return Poll::Ready(Err(Failure::new("a call was polled after it had ended")));
        }
        // SAFETY: `new` wrote an `F` there, and it has not been dropped. It stays there until `end`
        // and never moves: that is what pinning asks for.
        let future = unsafe { Pin::new_unchecked(self.block.start().cast::<F>().as_mut()) };
        let polled = future.poll(context);
        if polled.is_ready() {
            self.end();
        }
        polled
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
