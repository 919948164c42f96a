//! The tokio runtime of a loaded library: one for every extension in it, apart from the host's.

use std::{
    cell::Cell,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use futures::FutureExt;
use tokio::runtime::{Builder, EnterGuard, Runtime};

use crate::{Failure, Host, log, panics};

static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();

/// Whether this copy of the SDK came in with a shared library, and so shares nothing with the host.
static LIBRARY: AtomicBool = AtomicBool::new(false);

pub(crate) fn set_library() {
    LIBRARY.store(true, Ordering::Relaxed);
}

pub(crate) fn is_library() -> bool {
    LIBRARY.load(Ordering::Relaxed)
}

/// Starts the runtime, or finds it running. 0 workers stands for the default, two at most: an
/// extension's calls run on the host's threads, the workers only drive its timers and sockets.
pub(crate) fn start(workers: usize) -> Result<&'static Runtime, Failure> {
    let runtime = RUNTIME.get_or_init(|| {
        let default = || thread::available_parallelism().map_or(1, |cores| cores.get().min(2));
        Builder::new_multi_thread()
            .worker_threads(if workers == 0 { default() } else { workers })
            .thread_name("extension")
            .enable_all()
            .build()
            .map_err(|error| error.to_string())
    });
    runtime.as_ref().map_err(|error| {
        Failure::new(format_args!("failed to start the extension's runtime: {error}"))
    })
}

thread_local! {
    /// Whether this thread has entered the runtime for good.
    static ENTERED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body` as the extension's code: inside of the runtime, and logging for `host`.
///
/// In a library the thread stays inside of the runtime, since its tokio is nobody else's, and the next
/// call finds a flag. Linked statically the host's own runtime comes back after the call.
#[inline]
pub(crate) fn within<T>(host: &Host, body: impl FnOnce() -> T) -> T {
    if ENTERED.get() && !log::several() { body() } else { within_guarded(host, body) }
}

#[cold]
fn within_guarded<T>(host: &Host, body: impl FnOnce() -> T) -> T {
    let _inside = log::inside(host);
    let _entered = if ENTERED.get() { None } else { enter() };
    body()
}

fn enter() -> Option<EnterGuard<'static>> {
    let guard = RUNTIME.get()?.as_ref().ok().map(Runtime::enter);
    if is_library() {
        std::mem::forget(guard);
        ENTERED.set(true);
        return None;
    }
    guard
}

/// Runs a future on the runtime's threads and blocks this one until it ends. A panic is a failure.
pub(crate) fn block<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let task = async move {
        let result = AssertUnwindSafe(future).catch_unwind().await;
        // The receiver waits below.
        drop(sender.send(result));
    };
    drop(start(0)?.spawn(task));
    match receiver.recv() {
        Ok(result) => result.map_err(panics::panicked),
        Err(mpsc::RecvError) => Err(Failure::new("the extension's runtime has ended")),
    }
}
