//! What a thread keeps from one call to the next: memory for a future and for an answer, and whether
//! it is inside of the runtime.
//!
//! One place for all of it, because in a shared library each look costs a call.

use std::{
    alloc::{Layout, dealloc},
    cell::Cell,
    ptr::NonNull,
};

use backplane_abi::Buffer;

/// What one thread keeps.
pub(crate) struct Local {
    /// Whether the thread has entered the runtime for good.
    pub(crate) entered: Cell<bool>,
    /// The block for the next call's future.
    block: Cell<Option<Block>>,
    /// Room for the next call's answer.
    answer: Cell<Vec<u8>>,
}

thread_local! {
    static LOCAL: Local = const {
        Local { entered: Cell::new(false), block: Cell::new(None), answer: Cell::new(Vec::new()) }
    };
}

/// What this thread keeps; nothing while it ends.
#[inline]
pub(crate) fn with<T>(body: impl FnOnce(&Local) -> T) -> Option<T> {
    LOCAL.try_with(body).ok()
}

/// What this thread keeps, for a function that it calls now; nothing while it ends.
///
/// The reference is for a function's own frame: [`with`] would return what the function returns
/// through an `Option`, and reading an answer that was written a moment ago is what a call waits for
/// longest.
///
/// # Safety
///
/// It must not outlive the frame of the function that calls this.
#[inline]
pub(crate) unsafe fn here<'frame>() -> Option<&'frame Local> {
    let place = with(std::ptr::from_ref)?;
    // SAFETY: the value is there and is dropped when the thread ends, not while a frame of it runs.
    Some(unsafe { &*place })
}

impl Local {
    /// The spare block, if there is one.
    #[inline]
    pub(crate) fn take_block(&self) -> Option<NonNull<u8>> {
        self.block.take().map(|block| {
            let start = block.0;
            std::mem::forget(block);
            start
        })
    }

    /// Room for the next call's answer.
    #[inline]
    pub(crate) fn room(&self, size: usize) -> Vec<u8> {
        if size == 0 {
            return Vec::new();
        }
        let mut room = self.answer.take();
        room.reserve(size);
        room
    }

    /// Keeps a block of layout [`BLOCK`] that nobody uses any more. Where there is one already, it is
    /// freed.
    ///
    /// # Safety
    ///
    /// The block was allocated with the layout `BLOCK`, and is given up.
    #[inline]
    pub(crate) unsafe fn keep_block(&self, start: NonNull<u8>) {
        drop(self.block.replace(Some(Block(start))));
    }
}

/// The layout of a spare block: most futures fit.
pub(crate) const BLOCK: Layout = match Layout::from_size_align(1024, 64) {
    Ok(layout) => layout,
    Err(_) => Layout::new::<u64>(),
};

/// A block of layout `BLOCK` that nobody uses.
struct Block(NonNull<u8>);

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the block was allocated with this layout, and this is its only owner.
        unsafe { dealloc(self.0.as_ptr(), BLOCK) }
    }
}

/// The most room that a thread keeps for an answer, in bytes.
const KEPT_ANSWER: usize = 4096;

/// Room for an answer of about `size` bytes: that of the last answer where it is back already.
#[inline]
pub(crate) fn room(size: usize) -> Vec<u8> {
    with(|local| local.room(size)).unwrap_or_else(|| Vec::with_capacity(size))
}

/// An answer for the host, whose room comes back when the host has read it.
#[inline]
pub(crate) fn answer(bytes: Vec<u8>) -> Buffer {
    if bytes.capacity() > KEPT_ANSWER || bytes.is_empty() {
        return bytes.into();
    }
    let mut bytes = std::mem::ManuallyDrop::new(bytes);
    // SAFETY: these are the parts of a vector that nobody else has; it is valid until `release`, which
    // makes it again and may run on any thread.
    unsafe {
        Buffer::from_raw_parts(bytes.as_mut_ptr(), bytes.len(), bytes.capacity(), release_answer)
    }
}

/// Takes back what [`answer`] gave.
unsafe extern "C" fn release_answer(data: *mut u8, length: usize, capacity: usize) {
    // SAFETY: the parts of the vector that `answer` forgot, and a buffer is released once.
    let mut room = unsafe { Vec::from_raw_parts(data, length, capacity) };
    room.clear();
    drop(with(|local| local.answer.replace(room)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_a_small_answer_is_used_again() {
        let first = room(100);
        let place = first.as_ptr();
        let mut first = first;
        first.push(1);
        drop(answer(first));
        let second = room(10);
        assert_eq!((second.as_ptr(), second.len()), (place, 0));
    }

    #[test]
    fn the_room_of_a_large_answer_is_given_back() {
        let mut large = room(KEPT_ANSWER + 1);
        large.push(1);
        drop(answer(large));
        assert!(room(1).capacity() <= KEPT_ANSWER);
    }

    #[test]
    fn an_answer_may_be_released_on_another_thread() {
        let mut bytes = room(8);
        bytes.extend([1, 2, 3]);
        let answer = answer(bytes);
        let length = std::thread::spawn(move || answer.len()).join().unwrap();
        assert_eq!(length, 3);
    }
}
