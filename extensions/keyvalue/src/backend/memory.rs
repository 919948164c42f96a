//! Buckets in memory: gone when the extension ends, and answered at once.
//!
//! A bucket's keys lie in shards, each an ordered map behind its own lock. A value is reference
//! counted, so that a read copies nothing while it holds the lock.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    ops::{Bound, RangeInclusive},
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

use super::{Backend, BucketId, Budget, Entry, Found, Page, Swap};
use crate::{Answer, Error, counter};

const SHARDS: usize = 16;

/// What an entry costs besides its bytes: its place in the map and the headers of two allocations.
const OVERHEAD: usize = 96;

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

#[derive(Default)]
struct Shard {
    entries: BTreeMap<Box<str>, Entry>,
    /// Of the last write.
    revision: u64,
}

impl Shard {
    /// Returns the entry that was there, for the caller to free when it has released the lock.
    fn put(&mut self, key: &str, value: Bytes) -> Option<Entry> {
        self.revision += 1;
        let entry = Entry { value, revision: self.revision };
        match self.entries.get_mut(key) {
            Some(place) => Some(std::mem::replace(place, entry)),
            None => self.entries.insert(key.into(), entry),
        }
    }

    fn cost(&self, key: &str) -> usize {
        self.entries.get(key).map_or(0, |entry| cost(key, &entry.value))
    }
}

fn cost(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + OVERHEAD
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

    fn place(&self, key: &str) -> usize {
        (self.hasher.hash_one(key) % SHARDS as u64) as usize
    }

    fn shard(&self, bucket: BucketId, key: &str) -> Result<&RwLock<Shard>, Error> {
        let shards = &self.bucket(bucket)?.shards;
        shards.get(self.place(key)).ok_or_else(|| Error::Unavailable("no such shard".into()))
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

    fn put(&self, shard: &mut Shard, key: &str, value: Bytes) -> Result<Option<Entry>, Error> {
        self.charge(cost(key, &value), shard.cost(key))?;
        Ok(shard.put(key, value))
    }

    fn remove(&self, shard: &mut Shard, key: &str) -> Option<Entry> {
        let entry = shard.entries.remove(key)?;
        self.used.fetch_sub(cost(key, &entry.value), Ordering::Relaxed);
        Some(entry)
    }

    /// Locks every shard of a bucket that one of the keys is in, in the order that all callers take,
    /// for writing. The shards stand at their places.
    fn lock_for<'a>(
        &self,
        bucket: &'a Bucket,
        keys: impl Iterator<Item = &'a str>,
    ) -> Vec<Option<RwLockWriteGuard<'a, Shard>>> {
        let wanted = self.wanted(keys);
        bucket
            .shards
            .iter()
            .enumerate()
            .map(|(place, shard)| (wanted & (1 << place) != 0).then(|| write(shard)))
            .collect()
    }

    /// The places of the keys' shards, as bits.
    fn wanted<'a>(&self, keys: impl Iterator<Item = &'a str>) -> u32 {
        keys.fold(0, |wanted, key| wanted | 1 << self.place(key))
    }

    fn try_get_many(
        &self,
        bucket: BucketId,
        keys: Vec<String>,
        most: usize,
    ) -> Result<Vec<Found>, Error> {
        let bucket = self.bucket(bucket)?;
        let wanted = self.wanted(keys.iter().map(String::as_str));
        let shards: Vec<_> = bucket
            .shards
            .iter()
            .enumerate()
            .map(|(place, shard)| (wanted & (1 << place) != 0).then(|| read(shard)))
            .collect();
        let mut budget = Budget::new(most);
        keys.into_iter()
            .map(|key| {
                let shard = shards.get(self.place(&key)).and_then(Option::as_ref);
                let value = shard
                    .and_then(|shard| shard.entries.get(key.as_str()))
                    .map(|entry| entry.value.clone());
                budget.spend(key.len() + value.as_ref().map_or(0, Bytes::len))?;
                Ok(value.map(|value| (key, value)))
            })
            .collect()
    }

    fn try_set_many(&self, bucket: BucketId, pairs: Vec<(String, Bytes)>) -> Result<(), Error> {
        let bucket = self.bucket(bucket)?;
        let pairs: BTreeMap<String, Bytes> = pairs.into_iter().collect();
        let mut shards = self.lock_for(bucket, pairs.keys().map(String::as_str));
        let mut now = 0;
        let mut before = 0;
        for (key, value) in &pairs {
            now += cost(key, value);
            let shard = shards.get(self.place(key)).and_then(Option::as_ref);
            before += shard.map_or(0, |shard| shard.cost(key));
        }
        self.charge(now, before)?;
        for (key, value) in &pairs {
            if let Some(shard) = shards.get_mut(self.place(key)).and_then(Option::as_mut) {
                // The values of a batch share one buffer, which the last of them would keep.
                drop(shard.put(key, Bytes::copy_from_slice(value)));
            }
        }
        Ok(())
    }

    fn try_list(&self, bucket: BucketId, after: Option<&str>, most: usize) -> Result<Page, Error> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        // The least keys so far, one more than fit in the page: the next shard need not look beyond.
        let mut keys: Vec<String> = Vec::new();
        for shard in &self.bucket(bucket)?.shards {
            let to = keys.get(most).map_or(Bound::Unbounded, |key| Bound::Included(key.as_str()));
            let shard = read(shard);
            let found = shard.entries.range::<str, _>((from, to)).take(most + 1);
            let found: Vec<_> = found.map(|(key, _)| String::from(&**key)).collect();
            keys.extend(found);
            keys.sort_unstable();
            keys.truncate(most + 1);
        }
        Page::of(keys.into_iter().map(Ok), most)
    }

    fn try_swap(
        &self,
        bucket: BucketId,
        key: &str,
        seen: Option<u64>,
        value: Bytes,
    ) -> Result<Swap, Error> {
        let mut shard = write(self.shard(bucket, key)?);
        let now = shard.entries.get(key);
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
        let shard = self.shard(bucket, key);
        Answer::ready(shard.map(|shard| read(shard).entries.get(key).cloned()))
    }

    fn exists(&self, bucket: BucketId, key: &str) -> Answer<bool> {
        let shard = self.shard(bucket, key);
        Answer::ready(shard.map(|shard| read(shard).entries.contains_key(key)))
    }

    fn get_many(&self, bucket: BucketId, keys: Vec<String>, most: usize) -> Answer<Vec<Found>> {
        Answer::ready(self.try_get_many(bucket, keys, most))
    }

    fn list(&self, bucket: BucketId, after: Option<&str>, most: usize) -> Answer<Page> {
        Answer::ready(self.try_list(bucket, after, most))
    }

    fn set(&self, bucket: BucketId, key: &str, value: Bytes) -> Answer<()> {
        let value = own(value);
        let shard = self.shard(bucket, key);
        Answer::ready(shard.and_then(|shard| self.put(&mut write(shard), key, value)).map(drop))
    }

    fn set_many(&self, bucket: BucketId, pairs: Vec<(String, Bytes)>) -> Answer<()> {
        Answer::ready(self.try_set_many(bucket, pairs))
    }

    fn delete(&self, bucket: BucketId, key: &str) -> Answer<()> {
        let shard = self.shard(bucket, key);
        Answer::ready(shard.map(|shard| self.remove(&mut write(shard), key)).map(drop))
    }

    fn delete_many(&self, bucket: BucketId, keys: Vec<String>) -> Answer<()> {
        Answer::ready(self.bucket(bucket).map(|bucket| {
            let mut shards = self.lock_for(bucket, keys.iter().map(String::as_str));
            for key in &keys {
                if let Some(shard) = shards.get_mut(self.place(key)).and_then(Option::as_mut) {
                    drop(self.remove(shard, key));
                }
            }
        }))
    }

    fn increment(
        &self,
        bucket: BucketId,
        key: &str,
        delta: i128,
        range: RangeInclusive<i128>,
    ) -> Answer<i128> {
        Answer::ready(self.shard(bucket, key).and_then(|shard| {
            let mut shard = write(shard);
            let now = shard.entries.get(key).map(|entry| &*entry.value);
            let sum = counter::add(now, delta, &range)?;
            self.put(&mut shard, key, counter::text(sum).into())?;
            Ok(sum)
        }))
    }

    fn swap(&self, bucket: BucketId, key: &str, seen: Option<u64>, value: Bytes) -> Answer<Swap> {
        Answer::ready(self.try_swap(bucket, key, seen, own(value)))
    }

    fn close(&self) {}
}
