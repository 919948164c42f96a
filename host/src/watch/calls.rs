//! Which call each thread is inside.
//!
//! Entering and leaving stand on the hottest path of the host. Each is a load and a store of a word that
//! no other thread writes, both relaxed: plain moves. A reader may see a call a moment late, which is
//! nothing to one that looks for those that last for seconds.

use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
    pin::Pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

/// The number of the call that a thread is inside, 0 for none, in the low half; in the high half how
/// many it has entered, so that two calls of the same function are not taken for one.
#[derive(Debug, Default)]
struct Slot(AtomicU64);

const CALL: u64 = u32::MAX as u64;
const ENTERED: u64 = !CALL;
const ONE: u64 = 1 << 32;

/// The slots of all threads that have ever made a call. They are never freed, for a reader may look at
/// any of them; that of a thread which has ended is the next one's.
struct Slots {
    all: Vec<&'static Slot>,
    free: Vec<&'static Slot>,
}

static SLOTS: Mutex<Slots> = Mutex::new(Slots { all: Vec::new(), free: Vec::new() });

thread_local! {
    static SLOT: Cell<Option<&'static Slot>> = const { Cell::new(None) };
    /// Apart from the slot itself, whose look-up would cost more if it had a destructor.
    static LEASE: RefCell<Option<Lease>> = const { RefCell::new(None) };
}

/// Gives a thread's slot back when it ends.
struct Lease(&'static Slot);

impl Drop for Lease {
    fn drop(&mut self) {
        SLOT.set(None);
        with_slots(|slots| slots.free.push(self.0));
    }
}

fn with_slots<R>(use_them: impl FnOnce(&mut Slots) -> R) -> R {
    use_them(&mut SLOTS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A thread's first call.
#[cold]
fn lease() -> &'static Slot {
    let slot = with_slots(|slots| match slots.free.pop() {
        Some(slot) => slot,
        None => {
            let slot: &'static Slot = Box::leak(Box::default());
            slots.all.push(slot);
            slot
        }
    });
    SLOT.set(Some(slot));
    // A thread that is about to end has no lease any more, and keeps the slot.
    LEASE.try_with(|lease| lease.replace(Some(Lease(slot)))).ok();
    slot
}

/// This thread is inside a call, as long as this lives.
#[must_use]
#[derive(Debug)]
pub struct Inside {
    slot: &'static Slot,
    around: u64,
    /// It is about this thread, and must not go to another.
    _not_send: PhantomData<*const ()>,
}

/// Notes that this thread is inside the call of that number. One inside the other is the inner one,
/// and then the outer again.
#[inline]
pub fn enter(call: u32) -> Inside {
    let slot = SLOT.get().unwrap_or_else(lease);
    let now = slot.0.load(Relaxed);
    slot.0.store((now & ENTERED).wrapping_add(ONE) | u64::from(call), Relaxed);
    Inside { slot, around: now & CALL, _not_send: PhantomData }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        let now = self.slot.0.load(Relaxed);
        self.slot.0.store(now & ENTERED | self.around, Relaxed);
    }
}

/// A call that is answered later: whoever polls it, or drops it, is inside the call.
#[derive(Debug)]
pub struct Later<F> {
    call: u32,
    future: Option<F>,
}

impl<F> Later<F> {
    /// The future of the call of that number.
    pub fn new(call: u32, future: F) -> Self {
        Self { call, future: Some(future) }
    }
}

impl<F: Future + Unpin> Future for Later<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _inside = enter(self.call);
        match &mut self.future {
            Some(future) => Pin::new(future).poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<F> Drop for Later<F> {
    fn drop(&mut self) {
        let _inside = enter(self.call);
        self.future = None;
    }
}

/// What a thread is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The number of the call.
    pub number: u32,
    /// The same for as long as it is the same call.
    pub entered: u32,
}

/// What each thread is inside now. A thread has its place for as long as it lives.
pub fn now() -> Vec<Option<Call>> {
    let read = |slot: &&Slot| {
        let now = slot.0.load(Relaxed);
        let call = Call { number: (now & CALL) as u32, entered: (now >> 32) as u32 };
        (call.number != 0).then_some(call)
    };
    with_slots(|slots| slots.all.iter().map(read).collect())
}

#[cfg(test)]
mod tests {
    use std::{future::ready, task::Waker};

    use super::*;

    /// Whether some thread is inside the call, and how often that has been entered.
    fn find(number: u32) -> Option<Call> {
        now().into_iter().flatten().find(|call| call.number == number)
    }

    #[test]
    fn a_thread_is_inside_a_call_until_it_leaves_and_then_in_the_one_around() {
        let outer = enter(1_000_001);
        let first = find(1_000_001).unwrap();
        {
            let _inner = enter(1_000_002);
            assert!(find(1_000_002).is_some());
            assert_eq!(find(1_000_001), None);
        }
        assert_eq!(find(1_000_002), None);
        assert!(find(1_000_001).is_some());
        drop(outer);
        assert_eq!(find(1_000_001), None);
        let _again = enter(1_000_001);
        assert_ne!(find(1_000_001), Some(first), "another call is taken for the same");
    }

    #[test]
    fn another_thread_sees_it_and_a_panic_leaves_it() {
        let (entered, seen) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let _inside = enter(1_000_003);
                entered.wait();
                seen.wait();
                panic!("as a provider might")
            });
            entered.wait();
            assert!(find(1_000_003).is_some());
            seen.wait();
            assert!(thread.join().is_err());
        });
        assert_eq!(find(1_000_003), None);
    }

    #[test]
    fn a_pending_call_is_entered_by_who_polls_it_and_by_who_drops_it() {
        struct Noted<'a>(&'a Cell<u32>);
        impl Drop for Noted<'_> {
            fn drop(&mut self) {
                assert!(find(1_000_004).is_some());
                self.0.set(self.0.get() + 1);
            }
        }
        let dropped = Cell::new(0);
        let noted = Noted(&dropped);
        let mut later = Later::new(
            1_000_004,
            Box::pin(async {
                let _noted = noted;
                assert!(find(1_000_004).is_some());
                std::future::pending::<()>().await;
            }),
        );
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut later).poll(&mut cx).is_pending());
        assert_eq!(find(1_000_004), None);
        drop(later);
        assert_eq!((find(1_000_004), dropped.get()), (None, 1));
        let mut later = Later::new(1_000_004, ready(7));
        assert_eq!(Pin::new(&mut later).poll(&mut cx), Poll::Ready(7));
    }

    #[test]
    fn the_slot_of_a_thread_that_has_ended_is_used_again() {
        let slots = || with_slots(|slots| slots.all.len());
        let call = || drop(enter(1_000_005));
        for _ in 0..100 {
            std::thread::spawn(call).join().unwrap();
        }
        // Other tests have threads of their own.
        assert!(slots() < 50, "{}", slots());
    }
}
