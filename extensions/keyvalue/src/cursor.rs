//! Cursors that are numbers, for `0.2.0-draft`.
//!
//! A page begins after the last key of the page before, in both versions. `0.2.0-draft2` says it with
//! that key; `0.2.0-draft` has a `u64` for it: the first eight bytes of the key's SHA-256. Which key
//! that was is remembered for a while; for an older cursor the bucket's keys are searched. So a
//! cursor outlives the instance that got it, and the host.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use crate::backend::BucketId;

/// How many cursors are remembered.
const REMEMBERED: usize = 4096;

/// The cursor that stands for a key. Never 0, which stands for the start.
pub(crate) fn of(key: &str) -> u64 {
    let digest = Sha256::digest(key.as_bytes());
    let number = digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    number.max(1)
}

/// The cursors that were given out last.
#[derive(Default)]
pub(crate) struct Cursors(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    keys: HashMap<(BucketId, u64), String>,
    oldest_first: VecDeque<(BucketId, u64)>,
}

impl Cursors {
    /// The cursor for the page after `key`.
    pub(crate) fn give(&self, bucket: BucketId, key: &str) -> u64 {
        let cursor = of(key);
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.keys.insert((bucket, cursor), key.to_owned()).is_none() {
            remembered.oldest_first.push_back((bucket, cursor));
        }
        if remembered.oldest_first.len() > REMEMBERED
            && let Some(oldest) = remembered.oldest_first.pop_front()
        {
            remembered.keys.remove(&oldest);
        }
        cursor
    }

    /// The key that a cursor stands for, if it is remembered.
    pub(crate) fn key(&self, bucket: BucketId, cursor: u64) -> Option<String> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.keys.get(&(bucket, cursor)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_the_start_of_the_sha_256_of_its_key() {
        // The digest of "abc" is ba7816bf 8f01cfea ...
        assert_eq!(of("abc"), 0xba78_16bf_8f01_cfea);
    }

    #[test]
    fn the_oldest_cursors_are_forgotten_first() {
        let cursors = Cursors::default();
        let bucket = BucketId(0);
        let first = cursors.give(bucket, "first");
        assert_eq!(cursors.give(bucket, "first"), first);
        assert_eq!(cursors.key(bucket, first).as_deref(), Some("first"));
        assert_eq!(cursors.key(BucketId(1), first), None);
        for number in 0..REMEMBERED {
            cursors.give(bucket, &number.to_string());
        }
        assert_eq!(cursors.key(bucket, first), None);
        assert_eq!(cursors.key(bucket, of("0")).as_deref(), Some("0"));
    }
}
