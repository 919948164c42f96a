//! What buckets are kept in.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::{Answer, Error};

pub(crate) mod memory;
pub(crate) mod redb;

/// A bucket, by its place in the extension's config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BucketId(pub(crate) usize);

/// A key's value and which write it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// Differs for every write of the key while it is there.
    pub revision: u64,
}

/// A page of a bucket's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The keys, in byte order.
    pub keys: Vec<String>,
    /// Whether there are keys after the last one.
    pub more: bool,
}

/// Where a page ends that has fewer keys than it may.
pub(crate) const PAGE_BYTES: usize = 1 << 20;

impl Page {
    /// A page of the first keys, at most `most`.
    pub(crate) fn of<E>(
        keys: impl IntoIterator<Item = Result<String, E>>,
        most: usize,
    ) -> Result<Self, E> {
        let mut page = Self { keys: Vec::new(), more: false };
        let mut bytes = 0;
        for key in keys {
            let key = key?;
            if page.keys.len() >= most || bytes >= PAGE_BYTES {
                page.more = true;
                break;
            }
            bytes += key.len();
            page.keys.push(key);
        }
        Ok(page)
    }

    /// The key that the next page comes after; none after the last page.
    pub fn next(&self) -> Option<&str> {
        self.keys.last().filter(|_| self.more).map(String::as_str)
    }
}

/// How a compare-and-swap ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// The key has the new value.
    Done,
    /// The key was changed before; this is what it has now.
    Stale(Option<Entry>),
}

/// A key with its value, or none where the key is not there.
pub type Found = Option<(String, Bytes)>;

/// Keeps buckets. Every operation is atomic: it happens as a whole or not at all, and no other comes
/// between its reading and its writing, from whichever workload and version of the interface.
/// Lengths and grants were checked by the caller.
pub trait Backend: Send + Sync + 'static {
    /// The entry of a key.
    fn get(&self, bucket: BucketId, key: &str) -> Answer<Option<Entry>>;

    /// Whether a key is there.
    fn exists(&self, bucket: BucketId, key: &str) -> Answer<bool>;

    /// The values of many keys, in their order, as they were at one moment.
    /// [`Error::BatchTooLong`] when they have more than `most` bytes together.
    fn get_many(&self, bucket: BucketId, keys: Vec<String>, most: usize) -> Answer<Vec<Found>>;

    /// At most `most` keys, of [`PAGE_BYTES`] or little more together, in byte order: the first ones,
    /// or those after `after`, whether or not that key is still there.
    fn list(&self, bucket: BucketId, after: Option<&str>, most: usize) -> Answer<Page>;

    /// Gives a key a value.
    fn set(&self, bucket: BucketId, key: &str, value: Bytes) -> Answer<()>;

    /// Gives keys values; of a key named twice the last one stays.
    fn set_many(&self, bucket: BucketId, pairs: Vec<(String, Bytes)>) -> Answer<()>;

    /// Removes a key if it is there.
    fn delete(&self, bucket: BucketId, key: &str) -> Answer<()>;

    /// Removes those of the keys that are there.
    fn delete_many(&self, bucket: BucketId, keys: Vec<String>) -> Answer<()>;

    /// Adds to a counter ([`crate::counter`]); the sum must be in `range`.
    fn increment(
        &self,
        bucket: BucketId,
        key: &str,
        delta: i128,
        range: RangeInclusive<i128>,
    ) -> Answer<i128>;

    /// Gives a key a value if its entry is still of revision `seen`, or if it is still not there
    /// where `seen` is none.
    fn swap(&self, bucket: BucketId, key: &str, seen: Option<u64>, value: Bytes) -> Answer<Swap>;

    /// Ends the backend, on a thread that may block. What was answered is kept; what comes later is
    /// answered with an error.
    fn close(&self);
}

/// Adds up the bytes of an answer, up to a limit.
pub(crate) struct Budget {
    left: usize,
    limit: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { left: limit, limit }
    }

    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Error> {
        self.left =
            self.left.checked_sub(bytes).ok_or(Error::BatchTooLong { limit: self.limit })?;
        Ok(())
    }
}
