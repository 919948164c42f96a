//! A call in progress: its context, its arguments and its handler's future in one recycled block of
//! memory, handed to the host only if the answer is not at hand.
//!
//! What a call carries is written into the block once and stays there, and so does its answer until it
//! is returned. Reading a structure that was written word by word a moment ago in larger pieces, as
//! moving it does, makes a processor wait for the writes; a few such moves cost more than all the rest.

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    future::Future,
    pin::Pin,
    ptr::NonNull,
    sync::Arc,
    task::{Context as TaskContext, Poll, Waker},
};

use abi_stable::std_types::{RErr, ROk};
use async_ffi::FfiFuture;
use backplane_abi::{Buffer, CallContext, Exchange, Finished, Outcome};

use crate::{
    Context, Failure, Host,
    failure::to_failed,
    local::{self, BLOCK, Local},
    module::{Bound, BoundRef},
    panics::catch,
    runtime,
};

/// How a handler ends: the answer is where the call was told to put it.
type Handled = Result<(), Failure>;

/// Runs a handler's future as far as it goes. An answer at hand costs no allocation, but for one that
/// is large.
///
/// The future is made by `make`, in the place where it stays: it is never copied.
#[inline]
pub fn answer<B, F>(
    bound: BoundRef<B>,
    call: &CallContext,
    exchange: &mut Exchange,
    make: impl FnOnce(CallRef) -> F,
) -> Outcome
where
    B: Send + Sync + 'static,
    F: Future<Output = Handled> + Send + 'static,
{
    // SAFETY: the reference goes to a function that is called here.
    let Some(local) = (unsafe { local::here() }) else { return no_thread() };
    let mut frame = Frame::new(local, bound.context(*call), exchange, make);
    let polled = catch(|| {
        let poll = || frame.poll(&mut TaskContext::from_waker(Waker::noop()));
        runtime::within_here(local, bound.host(), poll)
    });
    match polled {
        Ok(Poll::Ready(handled)) => {
            frame.give_back(local);
            match handled {
                Ok(()) => Outcome::Ready,
                Err(failure) => Outcome::Failed(to_failed(failure)),
            }
        }
        Err(failure) => Outcome::Failed(to_failed(failure)),
        Ok(Poll::Pending) => {
            frame.leave();
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

/// What a call carries, beside its future.
struct Call {
    context: Context,
    /// Arguments and results: the host's until the call is left pending, then the block's own.
    exchange: NonNull<Exchange>,
    /// What the calling thread keeps, while the call is on it.
    local: Option<NonNull<Local>>,
}

/// The call that a handler's future answers. It is for the future alone that it was made for, in whose
/// block the call is.
#[derive(Debug)]
pub struct CallRef(NonNull<Call>);

// SAFETY: a call's context and buffers are `Send` and `Sync`; what it has of a thread or of the host's,
// `leave` takes away before the call can get to another thread.
unsafe impl Send for CallRef {}
// SAFETY: as above; a shared reference gives out shared references alone.
unsafe impl Sync for CallRef {}

impl CallRef {
    #[inline]
    fn exchange(&self) -> &Exchange {
        // SAFETY: the call is in the block of the future that has this. The host's exchange is valid
        // until the call has returned, and `leave` has come before that; the other is in the block.
        unsafe { (*self.0.as_ptr()).exchange.as_ref() }
    }

    #[inline]
    fn exchange_mut(&mut self) -> &mut Exchange {
        // SAFETY: as above, and nobody else uses it while the future runs.
        unsafe { (*self.0.as_ptr()).exchange.as_mut() }
    }

    /// What the handler knows of the call.
    #[inline]
    pub fn context(&self) -> &Context {
        // SAFETY: the call is in the block of the future that has this. The context is only read: a
        // handler has it borrowed while its call is left pending.
        unsafe { &(*self.0.as_ptr()).context }
    }

    /// The arguments; nothing once they were taken.
    #[inline]
    pub fn arguments(&self) -> &[u8] {
        &self.exchange().arguments
    }

    /// Takes the arguments, to keep them beyond the call.
    #[inline]
    pub fn take_arguments(&mut self) -> Buffer {
        std::mem::take(&mut self.exchange_mut().arguments)
    }

    /// Room for an answer of about `size` bytes.
    #[inline]
    pub(crate) fn room(&self, size: usize) -> Vec<u8> {
        // SAFETY: the call is in the block of the future that has this.
        match unsafe { (*self.0.as_ptr()).local } {
            // SAFETY: it is this thread's own, for the call has not left it.
            Some(local) => unsafe { local.as_ref() }.room(size),
            None => local::room(size),
        }
    }

    /// Puts the answer.
    #[inline]
    pub fn answer(&mut self, answer: Buffer) {
        self.exchange_mut().results = answer;
    }
}

/// A call whose answer is not at hand. Dropped before it is finished, it is cancelled.
struct Pending<B, F: Future<Output = Handled>> {
    frame: Frame<F>,
    host: Host,
    /// The future refers to the binding, so it goes first.
    bound: Option<Arc<Bound<B>>>,
}

impl<B, F: Future<Output = Handled>> Future for Pending<B, F> {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Finished> {
        let polled = catch(|| {
            let this = &mut *self;
            runtime::within(&this.host, || this.frame.poll(context))
        });
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Ok(()))) => Poll::Ready(ROk(self.frame.take_answer())),
            Ok(Poll::Ready(Err(failure))) | Err(failure) => Poll::Ready(RErr(to_failed(failure))),
        }
    }
}

// The future in the frame does not move with it, and the binding is behind a pointer.
impl<B, F: Future<Output = Handled>> Unpin for Pending<B, F> {}

impl<B, F: Future<Output = Handled>> Drop for Pending<B, F> {
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

/// What a block holds. Its parts are reached by raw places, one by one: the future has a pointer to the
/// call, and the call one to what is kept.
struct Contents<F> {
    call: Call,
    /// None while the host's exchange is used.
    kept: Option<Exchange>,
    future: F,
}

/// A call and its pinned future in memory of their own, like a `Pin<Box<..>>` with recycled memory.
///
/// It holds its future until the future has answered or panicked, or `end` is called.
struct Frame<F> {
    /// Its call is there as long as the frame is.
    memory: NonNull<Contents<F>>,
    /// Whether an `F` stands in the memory.
    holds: bool,
}

// SAFETY: the frame owns its call, its future and its memory alone.
unsafe impl<F: Send> Send for Frame<F> {}

impl<F: Future<Output = Handled>> Frame<F> {
    #[inline]
    fn new(
        local: &Local,
        context: Context,
        exchange: &mut Exchange,
        make: impl FnOnce(CallRef) -> F,
    ) -> Self {
        let memory = Self::take(local);
        // SAFETY: the memory is the frame's alone, and has room and alignment for its contents. The
        // places of both parts are in it.
        unsafe {
            let call = &raw mut (*memory.as_ptr()).call;
            call.write(Call {
                context,
                exchange: NonNull::from(exchange),
                local: Some(NonNull::from(local)),
            });
            (&raw mut (*memory.as_ptr()).kept).write(None);
            let future = &raw mut (*memory.as_ptr()).future;
            future.write(make(CallRef(NonNull::new_unchecked(call))));
        }
        Self { memory, holds: true }
    }

    /// Polls the future, and ends it once it has answered.
    #[inline]
    fn poll(&mut self, context: &mut TaskContext<'_>) -> Poll<Handled> {
        if !self.holds {
            return Poll::Ready(Err(Failure::new("a call was polled after it had ended")));
        }
        // SAFETY: `new` wrote an `F` there, and it has not been dropped. It stays there until `end`
        // and never moves: that is what pinning asks for.
        let future = unsafe { Pin::new_unchecked(&mut (*self.memory.as_ptr()).future) };
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
            unsafe { (&raw mut (*self.memory.as_ptr()).future).drop_in_place() }
        }
    }

    /// The call goes on without the thread it came on, and with an exchange of its own. What the
    /// handler has borrowed of the arguments stays where it is: their bytes do not move.
    #[cold]
    fn leave(&mut self) {
        let contents = self.memory.as_ptr();
        // SAFETY: the call and what is kept are there, and the future does not run; of the call it has
        // borrowed the context at most, which is left alone. The host's exchange is valid until the call
        // has returned, and nobody else uses it.
        unsafe {
            let exchange = std::mem::take((*contents).call.exchange.as_mut());
            let kept = &mut (*contents).kept;
            (*contents).call.exchange = NonNull::from(kept.insert(exchange));
            (*contents).call.local = None;
        }
    }

    /// The answer of a call that was left pending and has ended.
    fn take_answer(&mut self) -> Buffer {
        // SAFETY: it is there, and the future that used it has ended.
        let kept = unsafe { &mut (*self.memory.as_ptr()).kept };
        kept.take().map(|kept| kept.results).unwrap_or_default()
    }

    /// The memory of a future that has answered goes to the next call on this thread.
    #[inline]
    fn give_back(self, local: &Local) {
        let mut this = std::mem::ManuallyDrop::new(self);
        this.end();
        // SAFETY: the call is there, and nothing uses it or the memory any more. Nothing is kept: the
        // call was not left.
        unsafe {
            (&raw mut (*this.memory.as_ptr()).call).drop_in_place();
            Self::give(this.memory, local);
        }
    }

    const FITS: bool =
        size_of::<Contents<F>>() <= BLOCK.size() && align_of::<Contents<F>>() <= BLOCK.align();
    const LAYOUT: Layout = if Self::FITS { BLOCK } else { Layout::new::<Contents<F>>() };

    /// Memory for the contents: a recycled block where they fit in one.
    #[inline]
    fn take(local: &Local) -> NonNull<Contents<F>> {
        if Self::FITS
            && let Some(start) = local.take_block()
        {
            return start.cast();
        }
        Self::allocate()
    }

    #[cold]
    fn allocate() -> NonNull<Contents<F>> {
        // SAFETY: the layout has no size of 0: a call has some.
        let start = unsafe { alloc(Self::LAYOUT) };
        NonNull::new(start.cast()).unwrap_or_else(|| handle_alloc_error(Self::LAYOUT))
    }

    /// Gives memory to the next call on this thread.
    ///
    /// # Safety
    ///
    /// It is from [`take`](Self::take), and is given up.
    #[inline]
    unsafe fn give(memory: NonNull<Contents<F>>, local: &Local) {
        if Self::FITS {
            // SAFETY: it was allocated with that layout, and is given up here.
            unsafe { local.keep_block(memory.cast()) }
        } else {
            // SAFETY: it was allocated with this layout.
            unsafe { dealloc(memory.as_ptr().cast(), Self::LAYOUT) }
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
        // SAFETY: the call and what is kept are there until now, the memory was allocated with this layout, and the frame
        // is its only owner.
        unsafe {
            (&raw mut (*self.memory.as_ptr()).call).drop_in_place();
            (&raw mut (*self.memory.as_ptr()).kept).drop_in_place();
            dealloc(self.memory.as_ptr().cast(), Self::LAYOUT);
        }
    }
}
