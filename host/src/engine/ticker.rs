//! The thread that moves the engines' epochs on, so that a guest that never calls the host yields.

use std::{
    io,
    sync::Arc,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{Builder, JoinHandle},
    time::Duration,
};

use super::Made;

/// A running ticker; stops when dropped. It has a thread of its own, so that no busy or blocked
/// runtime can hold it up.
pub(super) struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(super) fn start(engines: Arc<Made>, tick: Duration) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = Builder::new().name("epoch-ticker".to_owned()).spawn(move || {
            while stopped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                engines.tick();
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the epoch ticker panicked");
        }
    }
}
