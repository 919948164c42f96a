//! The tokio runtime of a loaded library: one for every extension in it, apart from the host's.

use std::{
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

use crate::{
    Failure, Host,
    local::{self, Local},
    log, panics,
};

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

/// Runs `body` as the extension's code: inside of the runtime, and logging for `host`.
///
/// In a library the thread stays inside of the runtime, since its tokio is nobody else's, and the next
/// call finds a flag. Linked statically the host's own runtime comes back after the call.
pub(crate) fn within<T>(host: &Host, body: impl FnOnce() -> T) -> T {
    let has_entered = local::with(|local| local.entered.get()).unwrap_or(false);
    if has_entered && !log::several() { body() } else { within_guarded(has_entered, host, body) }
}

/// The same, where what the thread keeps is at hand.
#[inline]
pub(crate) fn within_here<T>(local: &Local, host: &Host, body: impl FnOnce() -> T) -> T {
    let has_entered = local.entered.get();
    if has_entered && !log::several() { body() } else { within_guarded(has_entered, host, body) }
}

#[cold]
fn within_guarded<T>(has_entered: bool, host: &Host, body: impl FnOnce() -> T) -> T {
    let _inside = log::inside(host);
    let _entered = if has_entered { None } else { enter() };
    body()
}

fn enter() -> Option<EnterGuard<'static>> {
    let guard = RUNTIME.get()?.as_ref().ok().map(Runtime::enter);
    if is_library() {
        std::mem::forget(guard);
        local::with(|local| local.entered.set(true));
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
