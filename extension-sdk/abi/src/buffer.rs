//! Bytes that one side made and either side may keep.

use std::{ops::Deref, ptr::NonNull, slice};

use abi_stable::StableAbi;
use bytemuck::NoUninit;

/// Owned bytes. Dropping them runs the release function of the side that made them, so a buffer may
/// be kept, sent to another thread and dropped on the other side of the ABI.
#[repr(C)]
#[derive(StableAbi)]
pub struct Buffer {
    data: *mut u8,
    length: usize,
    /// For `release` alone: a capacity, or a pointer to the owner.
    owner: usize,
    /// None where there is nothing to release.
    release: Option<unsafe extern "C" fn(data: *mut u8, length: usize, owner: usize)>,
}

// SAFETY: a `Buffer` owns its bytes alone, like a `Vec<u8>`, and the contract of `from_raw_parts` asks
// for a release function that may run on any thread.
unsafe impl Send for Buffer {}
// SAFETY: through a shared reference the bytes are only read.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// No bytes; allocates nothing.
    #[inline]
    pub const fn new() -> Self {
        Self { data: NonNull::dangling().as_ptr(), length: 0, owner: 0, release: None }
    }

    /// Releases the bytes, and has none from here on.
    #[inline]
    pub fn clear(&mut self) {
        let (data, length) = (self.data, std::mem::take(&mut self.length));
        self.data = NonNull::dangling().as_ptr();
        if let Some(release) = self.release.take() {
            // SAFETY: this is the one release, with the parts as given.
            unsafe { release(data, length, self.owner) }
        }
    }

    /// Takes bytes that another owner keeps.
    ///
    /// # Safety
    ///
    /// `data` must be valid for reads of `length` bytes, aligned and not null even if `length` is 0,
    /// and stay so, unchanged, until `release` is called; `release` is called once, with the same
    /// three values, from any thread, and must not unwind.
    #[inline]
    pub unsafe fn from_raw_parts(
        data: *mut u8,
        length: usize,
        owner: usize,
        release: unsafe extern "C" fn(*mut u8, usize, usize),
    ) -> Self {
        Self { data, length, owner, release: Some(release) }
    }

    /// Takes numbers as their bytes, in this machine's order; nothing is copied.
    #[inline]
    pub fn from_numbers<T: NoUninit + Send>(numbers: Vec<T>) -> Self {
        const { assert!(size_of::<T>() > 0, "nothing has no bytes") };
        let mut numbers = std::mem::ManuallyDrop::new(numbers);
        Self {
            data: numbers.as_mut_ptr().cast(),
            length: numbers.len() * size_of::<T>(),
            owner: numbers.capacity(),
            release: Some(release_numbers::<T>),
        }
    }

    /// Shares bytes that others may have as well; nothing is copied. `owner` is dropped when they are released, on any
    /// thread.
    pub fn from_owner<T: AsRef<[u8]> + Send + 'static>(owner: T) -> Self {
        let owner = Box::new(owner);
        let bytes = (*owner).as_ref();
        let (data, length) = (bytes.as_ptr().cast_mut(), bytes.len());
        Self {
            data,
            length,
            owner: Box::into_raw(owner).expose_provenance(),
            release: Some(release_owner::<T>),
        }
    }

    /// The bytes as a vector: the same allocation where this side made them, else a copy.
    pub fn into_vec(self) -> Vec<u8> {
        // The address identifies this side's release function. Two copies of this crate have two
        // addresses, and then the bytes are copied; should two functions ever share one address,
        // they are the same code with the same allocator.
        if self.release.is_some_and(|release| release as usize == release_vec as *const () as usize)
        {
            let this = std::mem::ManuallyDrop::new(self);
            // SAFETY: `release_vec` stands only in buffers made by `From<Vec<u8>>` of this copy of
            // the crate, whose parts these are; `ManuallyDrop` keeps them from being freed twice.
            return unsafe { Vec::from_raw_parts(this.data, this.length, this.owner) };
        }
        self.to_vec()
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Vec<u8>> for Buffer {
    #[inline]
    fn from(bytes: Vec<u8>) -> Self {
        let mut bytes = std::mem::ManuallyDrop::new(bytes);
        Self {
            data: bytes.as_mut_ptr(),
            length: bytes.len(),
            owner: bytes.capacity(),
            release: Some(release_vec),
        }
    }
}

/// Frees what `From<Vec<u8>>` took.
unsafe extern "C" fn release_vec(data: *mut u8, length: usize, owner: usize) {
    // SAFETY: the three are the parts of the vector that `From<Vec<u8>>` forgot, and a buffer is
    // released once.
    drop(unsafe { Vec::from_raw_parts(data, length, owner) });
}

/// Drops what `from_owner` took.
unsafe extern "C" fn release_owner<T>(_: *mut u8, _: usize, owner: usize) {
    let owner = std::ptr::with_exposed_provenance_mut::<T>(owner);
    // A panic must not leave this function; what owns bytes has none.
    let dropped = std::panic::AssertUnwindSafe(|| {
        // SAFETY: the box that `from_owner` forgot, and a buffer is released once. Nobody else has had it since, so
        // that the bytes that it lent were there until now.
        drop(unsafe { Box::from_raw(owner) });
    });
    drop(std::panic::catch_unwind(dropped));
}

/// Frees what `from_numbers` took.
unsafe extern "C" fn release_numbers<T>(data: *mut u8, length: usize, owner: usize) {
    // SAFETY: the parts of the vector that `from_numbers` forgot, whose length was multiplied by the
    // size of its elements; a buffer is released once.
    drop(unsafe { Vec::<T>::from_raw_parts(data.cast(), length / size_of::<T>(), owner) });
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `data` is valid for reads of `length` bytes while the buffer lives, by the
        // contract of `from_raw_parts` and by `Vec`.
        unsafe { slice::from_raw_parts(self.data, self.length) }
    }
}

impl AsRef<[u8]> for Buffer {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: this is the one release, with the parts as given.
            unsafe { release(self.data, self.length, self.owner) }
        }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer").field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(
        miri,
        ignore = "a function has no address of its own there, and so the bytes are copied"
    )]
    fn a_vector_comes_back_as_the_same_allocation() {
        let bytes = vec![1, 2, 3];
        let address = bytes.as_ptr();
        let back = Buffer::from(bytes).into_vec();
        assert_eq!((back.as_slice(), back.as_ptr()), ([1, 2, 3].as_slice(), address));
    }

    #[test]
    fn shared_bytes_are_read_where_they_are_and_let_go_once() {
        let owner = std::sync::Arc::<[u8]>::from([1, 2, 3]);
        let buffer = Buffer::from_owner(std::sync::Arc::clone(&owner));
        assert_eq!((&*buffer, buffer.as_ptr()), ([1, 2, 3].as_slice(), owner.as_ptr()));
        assert_eq!(buffer.into_vec(), [1, 2, 3]);
        assert_eq!(std::sync::Arc::strong_count(&owner), 1);
        let mut buffer = Buffer::from_owner(vec![7; 9]);
        buffer.clear();
        assert!(buffer.is_empty());
    }

    #[test]
    fn foreign_bytes_are_copied_and_released_once() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static RELEASED: AtomicUsize = AtomicUsize::new(0);
        unsafe extern "C" fn release(data: *mut u8, _: usize, owner: usize) {
            RELEASED.fetch_add(owner, Ordering::SeqCst);
            // SAFETY: the test below leaked exactly this box.
            drop(unsafe { Box::from_raw(data.cast::<[u8; 2]>()) });
        }
        let data = Box::into_raw(Box::new([7_u8, 8])).cast::<u8>();
        // SAFETY: the box lives until `release`, which frees it.
        let buffer = unsafe { Buffer::from_raw_parts(data, 2, 5, release) };
        assert_eq!(buffer.into_vec(), [7, 8]);
        assert_eq!(RELEASED.load(Ordering::SeqCst), 5);
    }

    #[test]
    fn numbers_are_their_bytes_and_are_freed_as_what_they_were() {
        let mut numbers = Vec::with_capacity(7);
        numbers.extend([1_u32, 2]);
        let buffer = Buffer::from_numbers(numbers);
        assert_eq!(*buffer, *[1_u32.to_ne_bytes(), 2_u32.to_ne_bytes()].concat());
        assert_eq!(buffer.into_vec().len(), 8);
    }

    #[test]
    fn an_empty_buffer_may_be_dropped_on_another_thread() {
        std::thread::spawn(move || drop(Buffer::new())).join().unwrap();
    }
}
