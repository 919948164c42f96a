//! An end of a channel between a workload and the extension: what is behind each end of a stream or a future.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use abi_stable::std_types::RResult;
use backplane_abi::{
    Buffer, CallContext, HOST_STREAMS, STREAM_FORGET, STREAM_MAKE, STREAM_READ, STREAM_WRITE,
};
use backplane_wire::{Error, Form, Problem, Reader, Writer, from_slice};
use futures::FutureExt as _;

use crate::{
    Failure,
    failure::from_failed,
    host::Home,
    resource::{self, Table},
};

/// An end of a stream that the extension has. Given up when it is dropped.
pub(crate) struct End {
    home: Home,
    handle: u64,
    /// Whether there is nothing to give up: it has come to its end, or was given away.
    is_over: AtomicBool,
}

impl End {
    pub(crate) fn new(home: Home, handle: u64) -> Self {
        Self { home, handle, is_over: AtomicBool::new(false) }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let handle = reader.handle()?;
        let home = resource::with_current(Table::home);
        Ok(Self::new(home.ok_or_else(|| reader.error(Problem::DeadHandle))?, handle))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub(crate) fn over(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn call(&self) -> CallContext {
        CallContext { reserved: [self.handle, 0, 0, 0], ..CallContext::default() }
    }

    /// The next chunk; it is empty at the end. Cancel safe.
    pub(crate) async fn read(&self) -> Result<Buffer, Failure> {
        let read = self.home.ask(HOST_STREAMS, STREAM_READ, Buffer::new(), &self.call());
        read.await.into_result().map_err(from_failed)
    }

    /// Writes a chunk, when there is room. False where nobody reads any more.
    pub(crate) async fn write(&self, chunk: Buffer) -> Result<bool, Failure> {
        let written = self.home.ask(HOST_STREAMS, STREAM_WRITE, chunk, &self.call());
        let written = written.await.into_result().map_err(from_failed)?;
        let (written,) = from_slice(&written, Form::Local)?;
        Ok(written)
    }

    /// Gives the end away, in a message.
    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.handle(self.handle);
        // It is the reader's of the message from here on.
        self.over();
    }

    /// Bytes of it in a message.
    pub(crate) const SIZE: usize = 9;

    /// Asks for what is answered at once.
    pub(crate) fn tell(&self, function: &str) {
        let told = self.home.ask(HOST_STREAMS, function, Buffer::new(), &self.call());
        if let Some(RResult::RErr(failed)) = told.now_or_never() {
            tracing::debug!("`{HOST_STREAMS}#{function}`: {}", failed.message);
        }
    }
}

/// A channel: the end that is written, and the one that is read.
pub(crate) fn make(home: &Home) -> Result<(End, End), Failure> {
    let made = home.ask(HOST_STREAMS, STREAM_MAKE, Buffer::new(), &CallContext::default());
    let made = made.now_or_never().map(RResult::into_result);
    let made = made.ok_or_else(|| Failure::new("the host does not answer at once"))?;
    let (writes, reads) = from_slice(&made.map_err(from_failed)?, Form::Local)?;
    let end = |handle| End::new(*home, handle);
    Ok((end(writes), end(reads)))
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if !self.is_over() {
            self.tell(STREAM_FORGET);
        }
    }
}
