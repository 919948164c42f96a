//! Buckets in a redb file: durable, and one file for all of them.
//!
//! Reads come from a snapshot, the state after the latest commit, and wait for nobody. Writes go to one
//! thread ([`writer`]) that commits them in groups, because a commit is a sync of the disk.

use std::{
    ops::{Bound, RangeInclusive},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use self::{
    fault::{Fault, at},
    file::{Layout, Snapshot},
    writer::{Closure, Job, Message, Writer, Writing},
};
use super::{Backend, BucketId, Budget, Entry, Found, Page, Swap};
use crate::{Answer, Error, counter, error::ConfigError};

mod fault;
mod file;
mod format;
mod writer;

/// Up to this many keys are read at once where the call is; more are read on a thread that may block.
const READ_AT_ONCE: usize = 16;

/// What [`Redb::open`] takes.
#[derive(Debug)]
pub(crate) struct Options {
    /// The file.
    pub(crate) path: PathBuf,
    /// The buckets' names, by their ids.
    pub(crate) buckets: Vec<String>,
    /// Bytes of the file that are kept in memory.
    pub(crate) cache_bytes: usize,
    /// Bytes of keys and values that may wait to be written.
    pub(crate) waiting_bytes: usize,
    /// Whether every checksum of the file is verified first.
    pub(crate) check: bool,
}

/// The backend.
pub(crate) struct Redb {
    shared: Arc<Shared>,
    waiting_bytes: usize,
    queue: mpsc::Sender<Message>,
    /// None once it was closed.
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What readers and the writer share.
struct Shared {
    layout: Layout,
    latest: RwLock<Result<Arc<Snapshot>, Fault>>,
    /// Bytes of keys and values that wait to be written.
    waiting: AtomicUsize,
    /// Transactions committed, and the operations in them.
    commits: AtomicU64,
    operations: AtomicU64,
}

impl Shared {
    fn publish(&self, latest: Result<Snapshot, Fault>) {
        let latest = latest.map(Arc::new);
        let mut place = self.latest.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *place, latest);
        drop(place);
        // Ends the old transaction, outside of the lock.
        drop(old);
    }

    fn snapshot(&self) -> Result<Arc<Snapshot>, Error> {
        let latest = self.latest.read().unwrap_or_else(PoisonError::into_inner);
        Ok(latest.clone()?)
    }

    fn get_many(
        &self,
        bucket: BucketId,
        keys: Vec<String>,
        most: usize,
    ) -> Result<Vec<Found>, Error> {
        let snapshot = self.snapshot()?;
        let mut budget = Budget::new(most);
        keys.into_iter()
            .map(|key| {
                let value = snapshot.get(&self.layout, bucket, &key)?.map(|entry| entry.value);
                budget.spend(key.len() + value.as_ref().map_or(0, Bytes::len))?;
                Ok(value.map(|value| (key, value)))
            })
            .collect()
    }

    fn list(&self, bucket: BucketId, after: Option<&str>, most: usize) -> Result<Page, Error> {
        let snapshot = self.snapshot()?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found = snapshot
            .table(&self.layout, bucket)?
            .range::<&str>((from, Bound::Unbounded))
            .map_err(Fault::from)?;
        let keys = found.map(|entry| match entry {
            Ok((key, _)) => Ok(key.value().to_owned()),
            Err(error) => Err(Fault::from(error).into()),
        });
        Page::of(keys, most)
    }
}

impl Redb {
    /// Opens the file, or makes it, and starts the writer. Blocks; after a crash for as long as it
    /// takes to read the file once.
    pub(crate) fn open(options: Options) -> Result<Self, ConfigError> {
        let layout = Layout {
            tables: options.buckets.iter().map(|name| format::table_name(name)).collect(),
            path: options.path,
            cache_bytes: options.cache_bytes,
            check: options.check,
        };
        layout.make_folder().map_err(|error| {
            at(&layout.path, format_args!("its folder cannot be made: {error}"))
        })?;
        let (database, revision) = layout.open().map_err(|fault| at(&layout.path, fault))?;
        let snapshot =
            Snapshot::take(&database, &layout).map_err(|fault| at(&layout.path, fault))?;
        let shared = Arc::new(Shared {
            layout,
            latest: RwLock::new(Ok(Arc::new(snapshot))),
            waiting: AtomicUsize::new(0),
            commits: AtomicU64::new(0),
            operations: AtomicU64::new(0),
        });
        let (queue, jobs) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&shared), jobs, database, revision);
        let thread = thread::Builder::new()
            .name("keyvalue-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| {
                at(&shared.layout.path, format_args!("no thread to write it: {error}"))
            })?;
        Ok(Self {
            shared,
            waiting_bytes: options.waiting_bytes,
            queue,
            writer: Mutex::new(Some(thread)),
        })
    }

    /// Queues an operation. Its inner result is its own; an outer one fails the whole transaction.
    fn submit<T, F>(&self, bucket: BucketId, bytes: usize, run: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writing<'_, '_>) -> Result<Result<T, Error>, Fault> + Send + 'static,
    {
        let waiting = self.shared.waiting.fetch_add(bytes, Ordering::Relaxed);
        if waiting > 0 && waiting.saturating_add(bytes) > self.waiting_bytes {
            self.shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
            return Answer::ready(Err(Error::Overloaded { waiting }));
        }
        let (reply, answer) = oneshot::channel();
        let work = Box::new(Closure { run: Some(run), result: None, reply });
        match self.queue.send(Message::Job(Job { bucket, bytes, work })) {
            Ok(()) => Answer::Later(answer),
            Err(_) => Answer::ready(Err(Error::Unavailable("it is closed".into()))),
        }
    }
}

impl Backend for Redb {
    fn get(&self, bucket: BucketId, key: &str) -> Answer<Option<Entry>> {
        let snapshot = self.shared.snapshot();
        Answer::ready(snapshot.and_then(|shot| shot.get(&self.shared.layout, bucket, key)))
    }

    fn exists(&self, bucket: BucketId, key: &str) -> Answer<bool> {
        let snapshot = self.shared.snapshot();
        Answer::ready(snapshot.and_then(|shot| {
            let table = shot.table(&self.shared.layout, bucket)?;
            Ok(table.get(key).map_err(Fault::from)?.is_some())
        }))
    }

    fn get_many(&self, bucket: BucketId, keys: Vec<String>, most: usize) -> Answer<Vec<Found>> {
        if keys.len() <= READ_AT_ONCE {
            return Answer::ready(self.shared.get_many(bucket, keys, most));
        }
        let shared = Arc::clone(&self.shared);
        Answer::blocking(move || shared.get_many(bucket, keys, most))
    }

    fn list(&self, bucket: BucketId, after: Option<&str>, most: usize) -> Answer<Page> {
        let shared = Arc::clone(&self.shared);
        let after = after.map(str::to_owned);
        Answer::blocking(move || shared.list(bucket, after.as_deref(), most))
    }

    fn set(&self, bucket: BucketId, key: &str, value: Bytes) -> Answer<()> {
        let key = key.to_owned();
        self.submit(bucket, key.len() + value.len(), move |bucket| {
            Ok(Ok(bucket.put(&key, &value)?))
        })
    }

    fn set_many(&self, bucket: BucketId, pairs: Vec<(String, Bytes)>) -> Answer<()> {
        let bytes = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        self.submit(bucket, bytes, move |bucket| {
            for (key, value) in &pairs {
                bucket.put(key, value)?;
            }
            Ok(Ok(()))
        })
    }

    fn delete(&self, bucket: BucketId, key: &str) -> Answer<()> {
        let key = key.to_owned();
        self.submit(bucket, key.len(), move |bucket| Ok(Ok(bucket.remove(&key)?)))
    }

    fn delete_many(&self, bucket: BucketId, keys: Vec<String>) -> Answer<()> {
        let bytes = keys.iter().map(String::len).sum();
        self.submit(bucket, bytes, move |bucket| {
            for key in &keys {
                bucket.remove(key)?;
            }
            Ok(Ok(()))
        })
    }

    fn increment(
        &self,
        bucket: BucketId,
        key: &str,
        delta: i128,
        range: RangeInclusive<i128>,
    ) -> Answer<i128> {
        let key = key.to_owned();
        self.submit(bucket, key.len(), move |bucket| {
            let now = bucket.get(&key)?;
            let sum = counter::add(now.as_ref().map(|entry| &*entry.value), delta, &range);
            if let Ok(sum) = &sum {
                bucket.put(&key, counter::text(*sum).as_bytes())?;
            }
            Ok(sum)
        })
    }

    fn swap(&self, bucket: BucketId, key: &str, seen: Option<u64>, value: Bytes) -> Answer<Swap> {
        let key = key.to_owned();
        self.submit(bucket, key.len() + value.len(), move |bucket| {
            if bucket.revision(&key)? != seen {
                return Ok(Ok(Swap::Stale(bucket.get(&key)?)));
            }
            bucket.put(&key, &value)?;
            Ok(Ok(Swap::Done))
        })
    }

    fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = writer else { return };
        // If nobody receives it, the thread has ended already.
        drop(self.queue.send(Message::Stop));
        if thread.join().is_err() {
            tracing::error!("the thread that writes the key-value file panicked");
        }
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &tempfile::TempDir, waiting_bytes: usize) -> Redb {
        Redb::open(Options {
            path: folder.path().join("file"),
            buckets: vec!["default".to_owned()],
            cache_bytes: 1 << 20,
            waiting_bytes,
            check: false,
        })
        .unwrap()
    }

    const BUCKET: BucketId = BucketId(0);

    /// Keeps the writer busy until the sender is dropped.
    fn hold(redb: &Redb) -> (mpsc::Sender<()>, Answer<()>) {
        let (release, held) = mpsc::channel::<()>();
        let answer = redb.submit(BUCKET, 0, move |_| {
            assert!(held.recv().is_err());
            Ok(Ok(()))
        });
        (release, answer)
    }

    #[tokio::test]
    async fn all_that_waits_goes_into_one_commit() {
        let folder = tempfile::tempdir().unwrap();
        let redb = open(&folder, 1 << 20);
        let (release, held) = hold(&redb);
        let writes: Vec<_> = (0..100)
            .map(|number| redb.set(BUCKET, &number.to_string(), Bytes::from_static(b"x")))
            .collect();
        drop(release);
        held.await.unwrap();
        for write in writes {
            write.await.unwrap();
        }
        // The held one by itself, and the rest.
        assert_eq!(redb.shared.operations.load(Ordering::Relaxed), 101);
        assert!(redb.shared.commits.load(Ordering::Relaxed) <= 2);
    }

    #[tokio::test]
    async fn writes_that_would_wait_for_too_long_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let redb = open(&folder, 1000);
        let (release, held) = hold(&redb);
        let set = |length: usize| redb.set(BUCKET, "key", vec![1; length].into());
        let first = set(900);
        let refused = set(200);
        assert!(matches!(refused.await, Err(Error::Overloaded { waiting: 903 })));
        let fits = set(50);
        drop(release);
        held.await.unwrap();
        first.await.unwrap();
        fits.await.unwrap();
        // One that is larger than the limit by itself is written when nothing else waits.
        set(5000).await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_fails_its_transaction_and_not_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let redb = open(&folder, 1000);
        redb.set(BUCKET, "a", Bytes::from_static(b"1")).await.unwrap();
        let panicking: Answer<()> = redb.submit(BUCKET, 0, |bucket| {
            bucket.put("a", b"2")?;
            panic!("a bad page")
        });
        let Err(Error::Unavailable(why)) = panicking.await else { panic!("answered") };
        assert!(why.contains("the storage engine gave up (a bad page)"), "{why}");
        assert_eq!(redb.get(BUCKET, "a").await.unwrap().unwrap().value, "1");
        redb.set(BUCKET, "a", Bytes::from_static(b"3")).await.unwrap();
        assert_eq!(redb.get(BUCKET, "a").await.unwrap().unwrap().value, "3");
    }
}
