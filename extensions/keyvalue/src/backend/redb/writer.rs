//! The thread that writes: whatever waits goes into one transaction and one sync of the disk.
//!
//! An operation is answered after the commit that holds it, and after readers see that commit. When
//! a commit fails, every operation in it is answered with the failure, and the file is opened again:
//! after a failed write the storage engine refuses to go on, and what the file then holds is read
//! from the file, not from memory.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use redb::{Database, ReadableTable, Table};
use tokio::sync::oneshot;

use super::{
    Fault, Shared,
    file::Snapshot,
    format::{self, HEADER},
};
use crate::{
    Error,
    backend::{BucketId, Entry},
};

/// The most operations and the most bytes in one transaction.
const MOST_JOBS: usize = 4096;
const MOST_BYTES: usize = 64 << 20;

/// How long to wait before the file is opened again after that failed.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// A bucket inside a transaction.
pub(super) struct Writing<'a, 't> {
    table: &'a mut Table<'t, &'static str, &'static [u8]>,
    revision: &'a mut u64,
}

impl Writing<'_, '_> {
    /// The entry of a key.
    pub(super) fn get(&self, key: &str) -> Result<Option<Entry>, Fault> {
        let Some(guard) = self.table.get(key)? else { return Ok(None) };
        let (revision, value) = format::split_entry(guard.value())?;
        Ok(Some(Entry { value: bytes::Bytes::copy_from_slice(value), revision }))
    }

    /// The revision of a key's entry.
    pub(super) fn revision(&self, key: &str) -> Result<Option<u64>, Fault> {
        let Some(guard) = self.table.get(key)? else { return Ok(None) };
        Ok(Some(format::split_entry(guard.value())?.0))
    }

    /// Gives a key a value.
    pub(super) fn put(&mut self, key: &str, value: &[u8]) -> Result<(), Fault> {
        *self.revision += 1;
        let mut place = self.table.insert_reserve(key, HEADER + value.len())?;
        format::write_entry(place.as_mut(), *self.revision, value);
        Ok(())
    }

    /// Removes a key if it is there.
    pub(super) fn remove(&mut self, key: &str) -> Result<(), Fault> {
        if self.table.remove(key)?.is_some() {
            *self.revision += 1;
        }
        Ok(())
    }
}

/// What is sent to the thread.
pub(super) enum Message {
    /// An operation to write.
    Job(Job),
    /// Write what was sent before this, close the file and end.
    Stop,
}

/// An operation that waits to be written.
pub(super) struct Job {
    pub(super) bucket: BucketId,
    /// Bytes of keys and values, as counted in [`Shared::waiting`].
    pub(super) bytes: usize,
    pub(super) work: Box<dyn Work>,
}

/// What a job does. Each method is called at most once, in this order.
pub(super) trait Work: Send {
    /// Whether nobody waits for the answer any more.
    fn is_cancelled(&self) -> bool;

    /// Does it, inside the transaction.
    fn run(&mut self, bucket: &mut Writing<'_, '_>) -> Result<(), Fault>;

    /// Answers: with its result if the transaction was committed.
    fn answer(self: Box<Self>, committed: Result<(), Fault>);
}

/// [`Work`] out of a closure, whose inner result is the operation's own.
pub(super) struct Closure<T, F> {
    pub(super) run: Option<F>,
    pub(super) result: Option<Result<T, Error>>,
    pub(super) reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Work for Closure<T, F>
where
    T: Send,
    F: FnOnce(&mut Writing<'_, '_>) -> Result<Result<T, Error>, Fault> + Send,
{
    fn is_cancelled(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, bucket: &mut Writing<'_, '_>) -> Result<(), Fault> {
        if let Some(run) = self.run.take() {
            self.result = Some(run(bucket)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), Fault>) {
        let not_run = || Err(Error::Unavailable("the operation was not run".into()));
        let result = match committed {
            Ok(()) => self.result.unwrap_or_else(not_run),
            Err(fault) => Err(fault.into()),
        };
        // Whoever asked may have gone.
        drop(self.reply.send(result));
    }
}

/// The writing thread's state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: Receiver<Message>,
    state: State,
    revision: u64,
    /// Whether the disk was full at the last commit.
    was_full: bool,
}

enum State {
    Open(Database),
    Broken { fault: Fault, since: Instant },
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: Receiver<Message>,
        database: Database,
        revision: u64,
    ) -> Self {
        let state = State::Open(database);
        Self { shared, queue, state, revision, was_full: false }
    }

    /// Writes until it is told to stop.
    pub(super) fn run(mut self) {
        let mut jobs = Vec::new();
        let mut go_on = true;
        while go_on {
            let mut bytes = 0;
            let mut next = self.wait();
            loop {
                match next {
                    Some(Message::Job(job)) => bytes += self.take(job, &mut jobs),
                    Some(Message::Stop) => go_on = false,
                    None => break,
                }
                let full = jobs.len() >= MOST_JOBS || bytes >= MOST_BYTES;
                next = if go_on && !full { self.queue.try_recv().ok() } else { None };
            }
            self.write(&mut jobs);
        }
        self.shared.publish(Err(Fault::new("it is closed")));
        let commits = self.shared.commits.load(Ordering::Relaxed);
        let operations = self.shared.operations.load(Ordering::Relaxed);
        let path = self.shared.layout.path.display();
        match self.state {
            State::Open(database) => match database.close() {
                Ok(()) => tracing::debug!(%path, commits, operations, "closed the file"),
                Err(error) => tracing::warn!(%path, "the file was not closed cleanly: {error}"),
            },
            State::Broken { .. } => tracing::warn!(%path, "the file was not open at the end"),
        }
    }

    /// The next message. While the file is not open, tries to open it now and then.
    fn wait(&mut self) -> Option<Message> {
        if let State::Open(_) = self.state {
            return Some(self.queue.recv().unwrap_or(Message::Stop));
        }
        match self.queue.recv_timeout(RETRY_AFTER) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => {
                self.reopen_if_broken();
                None
            }
            Err(RecvTimeoutError::Disconnected) => Some(Message::Stop),
        }
    }

    /// Adds a job to the transaction to come, unless nobody waits for it.
    fn take(&self, job: Job, jobs: &mut Vec<Job>) -> usize {
        let bytes = job.bytes;
        self.shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
        if !job.work.is_cancelled() {
            jobs.push(job);
        }
        bytes
    }

    /// Writes the jobs in one transaction and answers them.
    fn write(&mut self, jobs: &mut Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        self.reopen_if_broken();
        let committed = self.commit(jobs);
        for job in jobs.drain(..) {
            job.work.answer(committed.clone());
        }
    }

    fn commit(&mut self, jobs: &mut [Job]) -> Result<(), Fault> {
        let database = match &self.state {
            State::Open(database) => database,
            State::Broken { fault, .. } => return Err(fault.clone()),
        };
        // A commit that fails costs a closing and opening of the file. While the disk is known to be
        // full it is not tried; twice the bytes, since a commit copies what it changes.
        let bytes: usize = jobs.iter().map(|job| job.bytes).sum();
        if self.was_full && !self.shared.layout.has_room(bytes.saturating_mul(2)) {
            return Err(Fault::full());
        }
        let work = AssertUnwindSafe(|| commit(&self.shared, database, self.revision, jobs));
        let committed = catch_unwind(work).unwrap_or_else(|panic| Err(Fault::panicked(&*panic)));
        self.was_full = committed.as_ref().is_err_and(Fault::is_full);
        let (revision, snapshot) = committed.inspect_err(|fault| self.fail(fault.clone()))?;
        self.revision = revision;
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        self.shared.operations.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        match snapshot {
            Some(Ok(snapshot)) => self.shared.publish(Ok(snapshot)),
            // Written, but it cannot be read back.
            Some(Err(fault)) => self.fail(fault),
            None => {}
        }
        Ok(())
    }

    /// Closes the file after a fault and opens it again.
    fn fail(&mut self, fault: Fault) {
        let path = self.shared.layout.path.display();
        tracing::error!(%path, "cannot write: {fault}");
        // Drops the database, so that the file can be opened again.
        self.state = State::Broken { fault, since: Instant::now() };
        self.reopen();
    }

    fn reopen_if_broken(&mut self) {
        if let State::Broken { since, .. } = &self.state
            && since.elapsed() >= RETRY_AFTER
        {
            self.reopen();
        }
    }

    fn reopen(&mut self) {
        let layout = &self.shared.layout;
        let opened = layout.open().and_then(|(database, revision)| {
            let snapshot = Snapshot::take(&database, layout)?;
            Ok((database, revision, snapshot))
        });
        let path = layout.path.display();
        match opened {
            Ok((database, revision, snapshot)) => {
                tracing::info!(%path, "opened the file again");
                // Never below what this process gave out: handles of it may live.
                self.revision = self.revision.max(revision);
                self.state = State::Open(database);
                self.shared.publish(Ok(snapshot));
            }
            Err(fault) => {
                tracing::error!(%path, "cannot open the file again: {fault}");
                self.shared.publish(Err(fault.clone()));
                self.state = State::Broken { fault, since: Instant::now() };
            }
        }
    }
}

/// What a transaction comes to: the revision of its last write, and the buckets as they are after it
/// if it changed any.
type Committed = (u64, Option<Result<Snapshot, Fault>>);

/// Runs the jobs in one transaction and makes it durable.
fn commit(
    shared: &Shared,
    database: &Database,
    before: u64,
    jobs: &mut [Job],
) -> Result<Committed, Fault> {
    let transaction = database.begin_write()?;
    let mut revision = before;
    {
        let mut tables: Vec<Option<Table<'_, _, _>>> =
            std::iter::repeat_with(|| None).take(shared.layout.tables.len()).collect();
        for job in jobs {
            let Some(place) = tables.get_mut(job.bucket.0) else { continue };
            let table = match place {
                Some(table) => table,
                None => {
                    let table = shared.layout.table(job.bucket);
                    let table = table.map_err(|error| Fault::new(error.to_string()))?;
                    place.insert(transaction.open_table(table)?)
                }
            };
            job.work.run(&mut Writing { table, revision: &mut revision })?;
        }
    }
    if revision == before {
        transaction.abort()?;
        return Ok((revision, None));
    }
    transaction.open_table(format::ABOUT)?.insert(format::ABOUT_REVISION, revision)?;
    transaction.commit()?;
    Ok((revision, Some(Snapshot::take(database, &shared.layout))))
}
