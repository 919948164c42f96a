//! The tokio runtimes that commands run on, made in one place.

use std::{
    future::Future,
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use crate::{observe::out, report::Report, workload};

/// Runs a command to its end. What it has spawned and not ended is given up then: a read of standard
/// input, say, cannot be stopped.
pub(super) fn block_on<T>(command: impl Future<Output = Result<T, Report>>) -> Result<T, Report> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .thread_name("backplane")
        .on_thread_park(|| {
            workload::thread_idles();
            out::thread_idles();
        })
        .build()
        .map_err(no_threads)?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    out::write_all();
    result
}

fn no_threads(error: std::io::Error) -> Report {
    Report::failure("the runtime's threads cannot be started")
        .caused_by(error)
        .help("raise the limit of processes for this user (`ulimit -u`)")
}

/// A thread with a runtime of its own, for what has to go on when every thread of the main runtime is
/// busy or blocked. Nothing on it may block. It ends when this is dropped.
pub(super) struct Aside {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Aside {
    pub(super) fn start() -> Result<Self, Report> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(no_threads)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("backplane-aside".to_owned())
            .spawn(move || {
                // An error means that nobody can tell any more, and so the same.
                runtime.block_on(stopped).ok();
            })
            .map_err(no_threads)?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Spawns a task on it.
    pub(super) fn spawn<F>(&self, task: F)
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        self.handle.spawn(task);
    }

    /// Does something in its context: what is made there is moved on by it.
    pub(super) fn within<T>(&self, make: impl FnOnce() -> T) -> T {
        let _context = self.handle.enter();
        make()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread beside the host panicked");
        }
    }
}
