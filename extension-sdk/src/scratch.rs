//! What a thread keeps from one call to the next, so that a call whose answer is at hand allocates
//! nothing: a block for its future and a buffer for its result.

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    cell::Cell,
    mem::ManuallyDrop,
    ptr::NonNull,
};

use backplane_abi::Buffer;

/// The block that a thread keeps: most futures fit.
const SPARE: Layout = match Layout::from_size_align(1024, 64) {
    Ok(layout) => layout,
    Err(_) => Layout::new::<u64>(),
};

/// The largest result buffer that a thread keeps.
const SPARE_RESULT: usize = 4096;

/// A thread's spare memory.
pub(crate) struct Scratch {
    /// Whether the thread has entered the extension's runtime for good.
    pub(crate) entered: Cell<bool>,
    block: Cell<Option<Block>>,
    result: Cell<Vec<u8>>,
}

thread_local! {
    static SCRATCH: Scratch = const {
        Scratch { entered: Cell::new(false), block: Cell::new(None), result: Cell::new(Vec::new()) }
    };
}

/// Runs `body` with this thread's spare memory: once a call, since finding it is not free.
#[inline]
pub(crate) fn with<T>(body: impl FnOnce(&Scratch) -> T) -> T {
    SCRATCH.with(body)
}

impl Scratch {
    /// Memory for a future.
    #[inline]
    pub(crate) fn block(&self, wanted: Layout) -> Block {
        if wanted.size() > SPARE.size() || wanted.align() > SPARE.align() {
            return Block::new(wanted);
        }
        self.block.take().unwrap_or_else(|| Block::new(SPARE))
    }

    /// Keeps the memory for the next future, if it is of the usual size.
    #[inline]
    pub(crate) fn keep(&self, block: Block) {
        if block.layout == SPARE {
            self.block.set(Some(block));
        }
    }

    /// An empty vector for a result of about `size` bytes.
    #[inline]
    pub(crate) fn result(&self, size: usize) -> Vec<u8> {
        if size > SPARE_RESULT {
            return Vec::with_capacity(size);
        }
        let mut spare = self.result.take();
        spare.clear();
        spare.reserve(size);
        spare
    }
}

/// Bytes for the host, whose memory comes back to the thread that drops them.
#[inline]
pub(crate) fn into_buffer(bytes: Vec<u8>) -> Buffer {
    let mut bytes = ManuallyDrop::new(bytes);
    let (length, capacity) = (bytes.len(), bytes.capacity());
    // SAFETY: a vector's pointer is valid for its length, even if that is 0, and stays so until
    // `release`, which takes the parts of the vector that is forgotten here.
    unsafe { Buffer::from_raw_parts(bytes.as_mut_ptr(), length, capacity, release) }
}

/// Takes back what `into_buffer` gave away.
unsafe extern "C" fn release(data: *mut u8, length: usize, capacity: usize) {
    // SAFETY: the three are the parts of the vector that `into_buffer` forgot, and a buffer is
    // released once.
    let bytes = unsafe { Vec::from_raw_parts(data, length, capacity) };
    if capacity <= SPARE_RESULT {
        // A thread that ends keeps nothing any more: then the bytes are freed.
        drop(SCRATCH.try_with(|scratch| scratch.result.replace(bytes)));
    }
}

/// Memory for a future, whose owner says what stands in it.
pub(crate) struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

impl Block {
    /// No memory at all.
    pub(crate) const fn none() -> Self {
        Self { start: NonNull::dangling(), layout: Layout::new::<()>() }
    }

    #[cold]
    fn new(layout: Layout) -> Self {
        if layout.size() == 0 {
            return Self { start: layout.dangling_ptr(), layout };
        }
        // SAFETY: the size is not 0.
        let start = unsafe { alloc(layout) };
        match NonNull::new(start) {
            Some(start) => Self { start, layout },
            None => handle_alloc_error(layout),
        }
    }

    /// Where it begins. Valid for reads and writes of the layout that was asked for, until the
    /// block is dropped or kept.
    #[inline]
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        if self.layout.size() != 0 {
            // SAFETY: `new` allocated it with this layout, and the block is its only owner.
            unsafe { dealloc(self.start.as_ptr(), self.layout) }
        }
    }
}
