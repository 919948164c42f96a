//! Buckets as workloads have them: granted, opened, with limits. Both versions of the interface are
//! thin conversions over this.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc};

use bytes::Bytes;

use crate::{
    Config, Error, LinkConfig,
    backend::{Backend, BucketId, Entry, Found, Page, Swap, memory::Memory, redb::Redb},
    config::{Access, BackendOptions, DEFAULT_BUCKET},
    cursor::{self, Cursors},
    error::ConfigError,
};

/// How many keys a page of `list-keys` has.
pub const PAGE: usize = 1000;

/// An instance of the extension: a backend and its limits. Made once for each configured extension.
pub struct Store {
    backend: Arc<dyn Backend>,
    buckets: Vec<String>,
    limits: Limits,
    cursors: Cursors,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    key: usize,
    value: usize,
    batch: usize,
}

impl Store {
    /// Opens the backend that the config names. Blocks.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when a setting cannot be, or the backend's file cannot be used.
    pub fn open(config: &Config) -> Result<Self, ConfigError> {
        config.check()?;
        let backend: Arc<dyn Backend> = match config.backend_options()? {
            BackendOptions::Memory { limit } => Arc::new(Memory::new(config.buckets.len(), limit)),
            BackendOptions::Redb(options) => Arc::new(Redb::open(options)?),
        };
        Ok(Self {
            backend,
            buckets: config.buckets.clone(),
            limits: Limits {
                key: config.max_key.0,
                value: config.max_value.0,
                batch: config.max_batch.0,
            },
            cursors: Cursors::default(),
        })
    }

    /// Binds a workload. Called once when its link is made.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the link grants a bucket that there is none of.
    pub fn bind(self: &Arc<Self>, link: &LinkConfig) -> Result<Binding, ConfigError> {
        Ok(Binding { granted: link.resolve(&self.buckets)?, store: Arc::clone(self) })
    }

    /// Closes the backend, when the last binding has ended. Blocks until what waits is written.
    pub fn close(&self) {
        self.backend.close();
    }

    fn check_key(&self, key: &str) -> Result<(), Error> {
        let (length, limit) = (key.len(), self.limits.key);
        if length > limit { Err(Error::KeyTooLong { length, limit }) } else { Ok(()) }
    }

    fn check_value(&self, value: &[u8]) -> Result<(), Error> {
        let (length, limit) = (value.len(), self.limits.value);
        if length > limit { Err(Error::ValueTooLong { length, limit }) } else { Ok(()) }
    }
}

/// What a workload may open.
pub struct Binding {
    granted: HashMap<Box<str>, (usize, Access)>,
    store: Arc<Store>,
}

impl Binding {
    /// Opens a bucket by the identifier that it is granted under. The empty identifier is `default`.
    ///
    /// # Errors
    ///
    /// [`Error::AccessDenied`] for a bucket that there is but that was not granted;
    /// [`Error::NoSuchStore`] for one that there is not.
    pub fn open(&self, identifier: &str) -> Result<Bucket, Error> {
        let identifier = if identifier.is_empty() { DEFAULT_BUCKET } else { identifier };
        match self.granted.get(identifier) {
            Some((place, access)) => {
                Ok(Bucket { store: Arc::clone(&self.store), id: BucketId(*place), access: *access })
            }
            None if self.store.buckets.iter().any(|name| name == identifier) => {
                Err(Error::AccessDenied(format!("the bucket `{identifier}`").into()))
            }
            None => Err(Error::NoSuchStore(identifier.into())),
        }
    }
}

/// A bucket that a workload has opened.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<Store>,
    id: BucketId,
    access: Access,
}

impl Bucket {
    fn backend(&self) -> &dyn Backend {
        &*self.store.backend
    }

    fn check_write<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
        match self.access {
            Access::ReadWrite => keys.into_iter().try_for_each(|key| self.store.check_key(key)),
            Access::Read => Err(Error::AccessDenied("this bucket for writing".into())),
        }
    }

    fn check_batch(&self, bytes: impl Iterator<Item = usize>) -> Result<(), Error> {
        let limit = self.store.limits.batch;
        let sum = bytes.fold(0_usize, usize::saturating_add);
        if sum > limit { Err(Error::BatchTooLong { limit }) } else { Ok(()) }
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// [`Error`] when the backend fails. So for every method here.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.store.check_key(key)?;
        Ok(self.backend().get(self.id, key).await?.map(|entry| entry.value))
    }

    /// Whether a key is there.
    pub async fn exists(&self, key: &str) -> Result<bool, Error> {
        self.store.check_key(key)?;
        self.backend().exists(self.id, key).await
    }

    /// Gives a key a value.
    pub async fn set(&self, key: &str, value: Bytes) -> Result<(), Error> {
        self.check_write([key])?;
        self.store.check_value(&value)?;
        self.backend().set(self.id, key, value).await
    }

    /// Removes a key if it is there.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        self.check_write([key])?;
        self.backend().delete(self.id, key).await
    }

    /// A page of keys in byte order: the first, or the one after a key.
    pub async fn list_after(&self, after: Option<&str>) -> Result<Page, Error> {
        self.backend().list(self.id, after, PAGE).await
    }

    /// A page of keys in byte order: the first, or the one that a cursor of [`Self::cursor`] names.
    pub async fn list_from(&self, cursor: Option<u64>) -> Result<Page, Error> {
        match cursor {
            None | Some(0) => self.list_after(None).await,
            Some(cursor) => {
                let key = self.key_of(cursor).await?;
                self.list_after(Some(&key)).await
            }
        }
    }

    /// The number that stands for the page after `key`.
    pub fn cursor(&self, key: &str) -> u64 {
        self.store.cursors.give(self.id, key)
    }

    /// The key that a cursor stands for: remembered, or searched for.
    async fn key_of(&self, cursor: u64) -> Result<String, Error> {
        if let Some(key) = self.store.cursors.key(self.id, cursor) {
            return Ok(key);
        }
        let mut page = self.list_after(None).await?;
        loop {
            if let Some(key) = page.keys.iter().find(|key| cursor::of(key) == cursor) {
                return Ok(key.clone());
            }
            match page.next() {
                Some(last) => page = self.list_after(Some(last)).await?,
                None => return Err(Error::UnknownCursor),
            }
        }
    }

    /// The values of many keys, in their order, as they were at one moment.
    pub async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Found>, Error> {
        keys.iter().try_for_each(|key| self.store.check_key(key))?;
        self.backend().get_many(self.id, keys, self.store.limits.batch).await
    }

    /// Gives keys values, all or none.
    pub async fn set_many(&self, pairs: Vec<(String, Bytes)>) -> Result<(), Error> {
        self.check_write(pairs.iter().map(|(key, _)| key.as_str()))?;
        pairs.iter().try_for_each(|(_, value)| self.store.check_value(value))?;
        self.check_batch(pairs.iter().map(|(key, value)| key.len() + value.len()))?;
        self.backend().set_many(self.id, pairs).await
    }

    /// Removes those of the keys that are there, all or none.
    pub async fn delete_many(&self, keys: Vec<String>) -> Result<(), Error> {
        self.check_write(keys.iter().map(String::as_str))?;
        self.check_batch(keys.iter().map(String::len))?;
        self.backend().delete_many(self.id, keys).await
    }

    /// Adds to a counter; the sum must be in `range`.
    pub async fn increment(
        &self,
        key: &str,
        delta: i128,
        range: RangeInclusive<i128>,
    ) -> Result<i128, Error> {
        self.check_write([key])?;
        self.backend().increment(self.id, key, delta, range).await
    }

    /// Takes a key as it is now, to swap it later.
    pub async fn compare(&self, key: &str) -> Result<Cas, Error> {
        self.store.check_key(key)?;
        let seen = self.backend().get(self.id, key).await?;
        Ok(Cas { bucket: self.clone(), key: key.into(), seen })
    }
}

/// A compare-and-swap that was begun.
pub struct Cas {
    bucket: Bucket,
    key: Box<str>,
    seen: Option<Entry>,
}

/// Why a swap did not happen.
pub enum SwapError {
    /// The bucket could not do it.
    Store(Error),
    /// The key was changed before; the handle has it as it is now.
    Stale(Cas),
}

impl Cas {
    /// The value that was taken.
    pub fn current(&self) -> Option<Bytes> {
        self.seen.as_ref().map(|entry| entry.value.clone())
    }

    /// Gives the key a value if it was not changed since it was taken.
    ///
    /// # Errors
    ///
    /// [`SwapError::Stale`] when it was changed, even if it was changed back.
    pub async fn swap(&self, value: Bytes) -> Result<(), SwapError> {
        let Self { bucket, key, seen } = self;
        let checked = bucket.check_write([&**key]).and_then(|()| bucket.store.check_value(&value));
        checked.map_err(SwapError::Store)?;
        let revision = seen.as_ref().map(|entry| entry.revision);
        match bucket.backend().swap(bucket.id, key, revision, value).await {
            Ok(Swap::Done) => Ok(()),
            Ok(Swap::Stale(seen)) => {
                Err(SwapError::Stale(Self { bucket: bucket.clone(), key: key.clone(), seen }))
            }
            Err(error) => Err(SwapError::Store(error)),
        }
    }
}
