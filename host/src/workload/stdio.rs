//! What a guest writes to its standard streams, line by line into the host's log.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use crate::name::WorkloadName;

/// A longer line is logged in pieces, so that a guest cannot make the host keep all it writes.
const LONGEST_LINE: usize = 8 << 10;

/// Bytes that a guest may write at once.
const WRITE: usize = 64 << 10;

/// Which of the two streams.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// A standard stream that ends in the log. Clones share the line that is being written.
#[derive(Clone)]
pub(super) struct LogStream(Arc<Mutex<Lines>>);

struct Lines {
    workload: WorkloadName,
    stream: Stream,
    begun: Vec<u8>,
}

impl LogStream {
    pub(super) fn new(workload: WorkloadName, stream: Stream) -> Self {
        Self(Arc::new(Mutex::new(Lines { workload, stream, begun: Vec::new() })))
    }

    fn write(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes);
    }
}

impl Lines {
    fn write(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.add(line);
            self.log();
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.add(bytes);
    }

    fn add(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(LONGEST_LINE) {
            if self.begun.len() + piece.len() > LONGEST_LINE {
                self.log();
            }
            self.begun.extend_from_slice(piece);
        }
    }

    fn log(&mut self) {
        let line = String::from_utf8_lossy(&self.begun);
        let line = line.trim_end_matches('\r');
        match self.stream {
            Stream::Stdout => {
                tracing::info!(target: "guest", workload = %self.workload, stream = "stdout", "{line}")
            }
            Stream::Stderr => {
                tracing::info!(target: "guest", workload = %self.workload, stream = "stderr", "{line}")
            }
        }
        self.begun.clear();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.begun.is_empty() {
            self.log();
        }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        LogStream::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE)
    }
}

impl AsyncWrite for LogStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        LogStream::write(&self, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
