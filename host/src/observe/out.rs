//! Standard error, where lines of the log go.
//!
//! Lines about requests come by the thousand, each from a thread that has others to answer. They wait
//! for their thread to have nothing else to do, and then go out together; other lines are written at
//! once. Those of a thread stay in order.

use std::{
    cell::Cell,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// The target of lines that may wait.
const PATIENT: &str = "access";

/// Bytes that wait in a thread at most.
const MOST: usize = 16 << 10;

/// How long a line waits at most, where its thread is busy, or has written others a moment before.
pub const LONGEST: Duration = Duration::from_millis(100);

/// How long a thread that has written lines keeps the next ones: it may have nothing else to do after
/// every single request.
const PAUSE: Duration = Duration::from_millis(10);

/// Lines of a thread that wait.
type Waiting = Arc<Mutex<Vec<u8>>>;

/// Those of all threads.
static ALL: Mutex<Vec<Waiting>> = Mutex::new(Vec::new());

thread_local! {
    static OWN: Own = Own::new();
}

/// A thread's share in [`ALL`].
struct Own {
    waiting: Waiting,
    /// When it last wrote lines for having nothing else to do.
    written: Cell<Option<Instant>>,
}

impl Own {
    fn new() -> Self {
        let waiting = Waiting::default();
        lock(&ALL).push(Arc::clone(&waiting));
        Self { waiting, written: Cell::new(None) }
    }

    fn idles(&self) {
        let mut waiting = lock(&self.waiting);
        if waiting.is_empty() {
            return;
        }
        let now = Instant::now();
        if self.written.get().is_none_or(|at| now - at > PAUSE) {
            self.written.set(Some(now));
            write_out(&mut waiting);
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        lock(&ALL).retain(|other| !Arc::ptr_eq(other, &self.waiting));
        write_out(&mut lock(&self.waiting));
    }
}

/// A lock whose data is whole whatever happened while it was held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes what waits. Nobody is left to tell if that fails.
fn write_out(waiting: &mut Vec<u8>) {
    if !waiting.is_empty() {
        io::stderr().write_all(waiting).ok();
        waiting.clear();
    }
}

/// Writes the lines of this thread that wait, unless it has just written others. To be called when it has
/// nothing else to do.
pub fn thread_idles() {
    // A thread that ends has written them.
    OWN.try_with(Own::idles).ok();
}

/// Writes the lines of all threads that wait. To be called now and then, for a thread may be busy for
/// long, and before the process ends.
pub fn write_all() {
    let all = lock(&ALL).clone();
    all.iter().for_each(|waiting| write_out(&mut lock(waiting)));
}

/// Makes writers of lines to standard error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out;

/// Writes one line.
pub(super) struct Line {
    may_wait: bool,
}

impl<'a> MakeWriter<'a> for Out {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { may_wait: false }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        Line { may_wait: metadata.target() == PATIENT }
    }
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        OWN.try_with(|own| {
            let mut waiting = lock(&own.waiting);
            if self.may_wait {
                waiting.extend_from_slice(line);
                if waiting.len() >= MOST {
                    write_out(&mut waiting);
                }
                return Ok(line.len());
            }
            write_out(&mut waiting);
            io::stderr().write(line)
        })
        .unwrap_or_else(|_| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
