//! Buckets in memory: gone when the extension ends, and answered at once.
//!
//! A bucket's keys lie in shards, each a hash table with the order of its keys beside it, behind a
//! lock of its own. A value is reference counted, so that a read copies nothing while it holds the
//! lock.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    hash::{BuildHasher, RandomState},
    ops::{Bound, RangeInclusive},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use hashbrown::HashTable;

use super::{Backend, BucketId, Budget, Entry, Found, Page, Swap};
use crate::{Answer, Error, counter};

const SHARDS: usize = 16;

/// What an entry costs besides its bytes: its places in the table and the order, and the headers of
/// two allocations.
const OVERHEAD: usize = 128;

/// From this length on a value keeps the message that it came in. Below it the value is copied, since
/// the rest of the message would be kept with it.
const KEEP_FROM: usize = 4096;

/// The backend.
pub(crate) struct Memory {
    buckets: Vec<Bucket>,
    hasher: RandomState,
    used: AtomicUsize,
    limit: usize,
}

#[derive(Default)]
struct Bucket {
    shards: [RwLock<Shard>; SHARDS],
}

/// A key with its hash, which is taken once for an operation.
#[derive(Clone, Copy)]
struct Key<'a> {
    text: &'a str,
    hash: u64,
}

impl Key<'_> {
    /// Its shard's place. The table uses the bits at both ends of the hash.
    fn shard(self) -> usize {
        (self.hash >> 40) as usize % SHARDS
    }

    fn cost(self, value: &[u8]) -> usize {
        self.text.len() + value.len() + OVERHEAD
    }
}

#[derive(Default)]
struct Shard {
    entries: HashTable<(Arc<str>, Entry)>,
    order: BTreeSet<Arc<str>>,
    /// Of the last write.
    revision: u64,
}

impl Shard {
    fn get(&self, key: Key<'_>) -> Option<&Entry> {
        let found = self.entries.find(key.hash, |(text, _)| **text == *key.text);
        found.map(|(_, entry)| entry)
    }

    /// Returns the entry that was there, for the caller to free when it has released the lock.
    fn put(&mut self, key: Key<'_>, value: Bytes, hasher: &RandomState) -> Option<Entry> {
        self.revision += 1;
        let entry = Entry { value, revision: self.revision };
        if let Some((_, place)) = self.entries.find_mut(key.hash, |(text, _)| **text == *key.text) {
            return Some(std::mem::replace(place, entry));
        }
        let text: Arc<str> = key.text.into();
        self.order.insert(Arc::clone(&text));
        self.entries.insert_unique(key.hash, (text, entry), |(text, _)| hasher.hash_one(&**text));
        None
    }

    fn remove(&mut self, key: Key<'_>) -> Option<Entry> {
        let place = self.entries.find_entry(key.hash, |(text, _)| **text == *key.text).ok()?;
        let ((text, entry), _) = place.remove();
        self.order.remove(&text);
        Some(entry)
    }

    fn cost(&self, key: Key<'_>) -> usize {
        self.get(key).map_or(0, |entry| key.cost(&entry.value))
    }
}

impl Memory {
    /// Empty buckets that hold at most `limit` bytes together.
    pub(crate) fn new(buckets: usize, limit: usize) -> Self {
        Self {
            buckets: std::iter::repeat_with(Bucket::default).take(buckets).collect(),
            hasher: RandomState::new(),
            used: AtomicUsize::new(0),
            limit,
        }
    }

    fn bucket(&self, bucket: BucketId) -> Result<&Bucket, Error> {
        // An id comes from the same config as the buckets do.
        self.buckets.get(bucket.0).ok_or_else(|| Error::Unavailable("no such bucket".into()))
    }

    fn key<'a>(&self, text: &'a str) -> Key<'a> {
        Key { text, hash: self.hasher.hash_one(text) }
    }

    fn shard(&self, bucket: BucketId, key: Key<'_>) -> Result<&RwLock<Shard>, Error> {
        let shards = &self.bucket(bucket)?.shards;
        shards.get(key.shard()).ok_or_else(|| Error::Unavailable("no such shard".into()))
    }

    /// Sets aside what an entry will cost beyond what its key costs now, or gives back the rest.
    fn charge(&self, now: usize, before: usize) -> Result<(), Error> {
        if now > before {
            let more = now - before;
            self.used
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                    used.checked_add(more).filter(|sum| *sum <= self.limit)
                })
                .map_err(|_| Error::Full { limit: self.limit })?;
        } else {
            self.used.fetch_sub(before - now, Ordering::Relaxed);
        }
        Ok(())
    }

    fn put(&self, shard: &mut Shard, key: Key<'_>, value: Bytes) -> Result<Option<Entry>, Error> {
        self.charge(key.cost(&value), shard.cost(key))?;
        Ok(shard.put(key, value, &self.hasher))
    }

    fn remove(&self, shard: &mut Shard, key: Key<'_>) -> Option<Entry> {
        let entry = shard.remove(key)?;
        self.used.fetch_sub(key.cost(&entry.value), Ordering::Relaxed);
        Some(entry)
    }

    /// The shards that one of the keys is in, each locked, at their places. In the order that all
    /// callers take.
    fn lock<'a, T>(
        &self,
        bucket: &'a Bucket,
        keys: impl Iterator<Item = Key<'a>>,
        lock: impl Fn(&'a RwLock<Shard>) -> T,
    ) -> [Option<T>; SHARDS] {
        let wanted = keys.fold(0_u32, |wanted, key| wanted | 1 << key.shard());
        let mut shards = bucket.shards.iter().enumerate();
        std::array::from_fn(|_| {
            let (place, shard) = shards.next()?;
            (wanted & (1 << place) != 0).then(|| lock(shard))
        })
    }

    fn try_get_many(
        &self,
        bucket: BucketId,
        keys: Vec<String>,
        most: usize,
    ) -> Result<Vec<Found>, Error> {
        let bucket = self.bucket(bucket)?;
        let values: Vec<Option<Bytes>> = {
            let keys: Vec<_> = keys.iter().map(|key| self.key(key)).collect();
            let shards = self.lock(bucket, keys.iter().copied(), read);
            let mut budget = Budget::new(most);
            let value = |key: &Key<'_>| {
                let shard = shards.get(key.shard()).and_then(Option::as_ref);
                let value =
                    shard.and_then(|shard| shard.get(*key)).map(|entry| entry.value.clone());
                budget.spend(key.text.len() + value.as_ref().map_or(0, Bytes::len))?;
                Ok(value)
            };
            keys.iter().map(value).collect::<Result<_, Error>>()?
        };
        let found = keys.into_iter().zip(values);
        Ok(found.map(|(key, value)| value.map(|value| (key, value))).collect())
    }

    fn try_set_many(&self, bucket: BucketId, pairs: Vec<(String, Bytes)>) -> Result<(), Error> {
        let bucket = self.bucket(bucket)?;
        let pairs: BTreeMap<String, Bytes> = pairs.into_iter().collect();
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (self.key(key), value)).collect();
        let mut shards = self.lock(bucket, pairs.iter().map(|(key, _)| *key), write);
        let mut now = 0;
        let mut before = 0;
        for (key, value) in &pairs {
            now += key.cost(value);
            let shard = shards.get(key.shard()).and_then(Option::as_ref);
            before += shard.map_or(0, |shard| shard.cost(*key));
        }
        self.charge(now, before)?;
        for (key, value) in &pairs {
            if let Some(shard) = shards.get_mut(key.shard()).and_then(Option::as_mut) {
                // The values of a batch share one buffer, which the last of them would keep.
                drop(shard.put(*key, Bytes::copy_from_slice(value), &self.hasher));
            }
        }
        Ok(())
    }

    fn try_delete_many(&self, bucket: BucketId, keys: &[String]) -> Result<(), Error> {
        let bucket = self.bucket(bucket)?;
        let keys: Vec<_> = keys.iter().map(|key| self.key(key)).collect();
        let mut shards = self.lock(bucket, keys.iter().copied(), write);
        for key in keys {
            if let Some(shard) = shards.get_mut(key.shard()).and_then(Option::as_mut) {
                drop(self.remove(shard, key));
            }
        }
        Ok(())
    }

    fn try_increment(
        &self,
        bucket: BucketId,
        key: &str,
        delta: i128,
        range: &RangeInclusive<i128>,
    ) -> Result<i128, Error> {
        let key = self.key(key);
        let mut shard = write(self.shard(bucket, key)?);
        let sum = counter::add(shard.get(key).map(|entry| &*entry.value), delta, range)?;
        self.put(&mut shard, key, counter::text(sum).into())?;
        Ok(sum)
    }

    fn try_list(&self, bucket: BucketId, after: Option<&str>, most: usize) -> Result<Page, Error> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let shards: Vec<_> = self.bucket(bucket)?.shards.iter().map(read).collect();
        let mut rest: Vec<_> = shards
            .iter()
            .map(|shard| shard.order.range::<str, _>((from, Bound::Unbounded)))
            .collect();
        // Merges the shards: the heap has the next key of each.
        let mut heads: BinaryHeap<Reverse<(&str, usize)>> = BinaryHeap::new();
        for (place, keys) in rest.iter_mut().enumerate() {
            heads.extend(keys.next().map(|key| Reverse((&**key, place))));
        }
        let merged = std::iter::from_fn(|| {
            let Reverse((key, place)) = heads.pop()?;
            let next = rest.get_mut(place).and_then(Iterator::next);
            heads.extend(next.map(|key| Reverse((&**key, place))));
            Some(Ok(key.to_owned()))
        });
        Page::of(merged, most)
    }

    fn try_swap(
        &self,
        bucket: BucketId,
        key: &str,
        seen: Option<u64>,
        value: Bytes,
    ) -> Result<Swap, Error> {
        let key = self.key(key);
        let mut shard = write(self.shard(bucket, key)?);
        let now = shard.get(key);
        if now.map(|entry| entry.revision) != seen {
            return Ok(Swap::Stale(now.cloned()));
        }
        let old = self.put(&mut shard, key, value)?;
        drop(shard);
        drop(old);
        Ok(Swap::Done)
    }
}

fn own(value: Bytes) -> Bytes {
    // The SDK has copied a value out of a small message already.
    if value.len() >= KEEP_FROM || value.is_unique() {
        value
    } else {
        Bytes::copy_from_slice(&value)
    }
}

// A shard is whole whenever its lock is released, so a panic elsewhere does not spoil it.
fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

impl Backend for Memory {
    fn get(&self, bucket: BucketId, key: &str) -> Answer<Option<Entry>> {
        let key = self.key(key);
        let shard = self.shard(bucket, key);
        Answer::ready(shard.map(|shard| read(shard).get(key).cloned()))
    }

    fn exists(&self, bucket: BucketId, key: &str) -> Answer<bool> {
        let key = self.key(key);
        let shard = self.shard(bucket, key);
        Answer::ready(shard.map(|shard| read(shard).get(key).is_some()))
    }

    fn get_many(&self, bucket: BucketId, keys: Vec<String>, most: usize) -> Answer<Vec<Found>> {
        Answer::ready(self.try_get_many(bucket, keys, most))
    }

    fn list(&self, bucket: BucketId, after: Option<&str>, most: usize) -> Answer<Page> {
        Answer::ready(self.try_list(bucket, after, most))
    }

    fn set(&self, bucket: BucketId, key: &str, value: Bytes) -> Answer<()> {
        let value = own(value);
        let key = self.key(key);
        let shard = self.shard(bucket, key);
        Answer::ready(shard.and_then(|shard| self.put(&mut write(shard), key, value)).map(drop))
    }

    fn set_many(&self, bucket: BucketId, pairs: Vec<(String, Bytes)>) -> Answer<()> {
        Answer::ready(self.try_set_many(bucket, pairs))
    }

    fn delete(&self, bucket: BucketId, key: &str) -> Answer<()> {
        let key = self.key(key);
        let shard = self.shard(bucket, key);
        Answer::ready(shard.map(|shard| self.remove(&mut write(shard), key)).map(drop))
    }

    fn delete_many(&self, bucket: BucketId, keys: Vec<String>) -> Answer<()> {
        Answer::ready(self.try_delete_many(bucket, &keys))
    }

    fn increment(
        &self,
        bucket: BucketId,
        key: &str,
        delta: i128,
        range: RangeInclusive<i128>,
    ) -> Answer<i128> {
        Answer::ready(self.try_increment(bucket, key, delta, &range))
    }

    fn swap(&self, bucket: BucketId, key: &str, seen: Option<u64>, value: Bytes) -> Answer<Swap> {
        Answer::ready(self.try_swap(bucket, key, seen, own(value)))
    }

    fn close(&self) {}
}
