//! The streams of a provider: the ends of channels that it reads from, writes to and gives away, by their handles.
//! What a guest has of a stream is in `readable`.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::channel::Channel;

/// Whether a store is about to go before its guest has ended well. Whoever ends a guest says so first: what it had
/// still to write is then known to be cut, and is not taken for all.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<AtomicBool>);

impl Ending {
    /// Says that what the guest still writes is cut.
    pub fn cut(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Ends a channel that the guest has written into: all of it, or cut.
    pub(super) fn finish(&self, channel: &Channel) {
        if self.0.load(Ordering::Acquire) { channel.cut() } else { channel.end() }
    }
}

/// The ends of channels that a provider has, by their handles.
#[derive(Debug, Default)]
pub struct Streams(Mutex<HashMap<u64, End>>);

/// An end of a channel that a provider has. Dropped with its binding at the latest.
#[derive(Debug)]
struct End {
    /// Whether the provider reads; else it writes.
    reads: bool,
    /// None once it was given away.
    channel: Option<Arc<Channel>>,
}

impl Drop for End {
    fn drop(&mut self) {
        match self.channel.take() {
            Some(channel) if self.reads => channel.leave(),
            Some(channel) => channel.cut(),
            None => {}
        }
    }
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, End>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, reads: bool, channel: Arc<Channel>) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let handle = NEXT.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(handle, End { reads, channel: Some(channel) });
        handle
    }

    fn find(&self, handle: u64, reads: bool) -> Option<Arc<Channel>> {
        let ends = self.lock();
        ends.get(&handle).filter(|end| end.reads == reads)?.channel.clone()
    }

    /// A channel of the provider's own: the handle of the end that it writes, and of the one that it gives away.
    pub fn make(&self) -> (u64, u64) {
        let channel = Arc::new(Channel::default());
        (self.add(false, Arc::clone(&channel)), self.add(true, channel))
    }

    /// Gives the provider an end to read from; its handle.
    pub(super) fn give(&self, channel: Arc<Channel>) -> u64 {
        self.add(true, channel)
    }

    /// Gives the provider an end to write to; its handle.
    pub(super) fn give_writer(&self, channel: Arc<Channel>) -> u64 {
        self.add(false, channel)
    }

    /// Takes an end away that the provider could read from.
    pub(super) fn take(&self, handle: u64) -> Option<Arc<Channel>> {
        self.take_end(handle, true)
    }

    /// Takes an end away that the provider could write to.
    pub(super) fn take_writer(&self, handle: u64) -> Option<Arc<Channel>> {
        self.take_end(handle, false)
    }

    fn take_end(&self, handle: u64, reads: bool) -> Option<Arc<Channel>> {
        let mut ends = self.lock();
        ends.get(&handle).filter(|end| end.reads == reads)?;
        ends.remove(&handle)?.channel.take()
    }

    /// The channel that the provider reads from by that handle.
    pub fn read(&self, handle: u64) -> Option<Arc<Channel>> {
        self.find(handle, true)
    }

    /// The channel that the provider writes to by that handle.
    pub fn write(&self, handle: u64) -> Option<Arc<Channel>> {
        self.find(handle, false)
    }

    /// Drops an end: a reader wants no more, or a writer is cut. Whether there was one.
    pub fn forget(&self, handle: u64) -> bool {
        // Outside of the lock: it wakes others.
        let end = self.lock().remove(&handle);
        end.is_some()
    }

    /// Ends what the provider writes, which is all of it. Whether there was one.
    pub fn end(&self, handle: u64) -> bool {
        match self.write(handle) {
            Some(channel) => {
                channel.end();
                self.forget(handle)
            }
            None => false,
        }
    }

    /// How many ends the provider has.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
