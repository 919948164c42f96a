//! The memory of messages: that of one call's arguments serves the next call on the thread.

use std::{cell::Cell, mem::ManuallyDrop};

use backplane_abi::Buffer;

/// The most memory that a thread keeps for the next message, in bytes.
const KEPT: usize = 4096;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Memory for a message of about `size` bytes. Whoever is called may keep a message, so that one of
/// which the most would be unused is not taken.
#[inline]
pub(super) fn room(size: usize) -> Vec<u8> {
    let spare = SPARE.try_with(Cell::take).unwrap_or_default();
    if (size..=size.saturating_mul(2)).contains(&spare.capacity()) {
        return spare;
    }
    Vec::with_capacity(size)
}

/// A message that was written.
pub(super) struct Message(Vec<u8>);

impl Message {
    #[inline]
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, to be patched in place.
    #[inline]
    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// The bytes.
    #[inline]
    pub(super) fn into_vec(self) -> Vec<u8> {
        self.0
    }

    /// The message for whoever is called. When it is released, its memory serves the next one.
    #[inline]
    pub(super) fn into_buffer(self) -> Buffer {
        let mut bytes = ManuallyDrop::new(self.0);
        // SAFETY: these are the parts of a vector that nobody else has; it is valid until `release`,
        // which makes it again, and may run on any thread.
        unsafe {
            Buffer::from_raw_parts(bytes.as_mut_ptr(), bytes.len(), bytes.capacity(), release)
        }
    }
}

/// Takes back what `into_buffer` gave.
unsafe extern "C" fn release(data: *mut u8, length: usize, capacity: usize) {
    // SAFETY: the parts of the vector that `into_buffer` forgot, and a buffer is released once.
    let mut bytes = unsafe { Vec::from_raw_parts(data, length, capacity) };
    if capacity <= KEPT {
        bytes.clear();
        // Where there is one already, that is freed; so is this one on a thread that ends.
        drop(SPARE.try_with(|spare| spare.replace(bytes)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(size: usize) -> Message {
        let mut bytes = room(size);
        bytes.resize(size, 7);
        Message::new(bytes)
    }

    #[test]
    fn the_memory_of_a_message_serves_the_next_one_of_its_size() {
        let first = message(100).into_buffer();
        let place = first.as_ptr();
        drop(first);
        let next = room(90);
        assert_eq!((next.as_ptr(), next.len()), (place, 0));
    }

    #[test]
    fn a_message_that_would_fill_little_of_it_gets_memory_of_its_own() {
        drop(message(1000).into_buffer());
        assert!(room(100).capacity() < 1000);
    }

    #[test]
    fn a_large_message_is_freed() {
        drop(message(KEPT + 1).into_buffer());
        assert!(SPARE.with(Cell::take).capacity() <= KEPT);
    }

    #[test]
    fn a_message_may_be_released_on_another_thread() {
        let buffer = message(10).into_buffer();
        std::thread::spawn(move || assert_eq!(*buffer, [7; 10])).join().unwrap();
    }
}
