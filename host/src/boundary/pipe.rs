//! What a stream of the runtime's is piped through: into a channel, and out of one.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use backplane_abi::Buffer;
use wasmtime::{Result, component::StreamResult};

use super::{channel::Channel, streams::Ending};

/// Bytes that are read from a guest, or written into one, at once.
pub(super) const CHUNK: usize = 64 << 10;

/// Where a guest's stream goes. Dropped when the guest closes its end, or ends itself.
pub(super) struct Out {
    pub(super) channel: Arc<Channel>,
    pub(super) ending: Ending,
}

impl Out {
    /// How many bytes of those that the guest offers are taken now; else what to answer.
    pub(super) fn room(
        &self,
        cx: &mut Context<'_>,
        has_any: bool,
        finish: bool,
    ) -> Result<usize, Poll<Result<StreamResult>>> {
        match self.channel.poll_room(cx) {
            Poll::Ready(Err(_)) => Err(Poll::Ready(Ok(StreamResult::Dropped))),
            Poll::Ready(Ok(_)) if !has_any => Err(Poll::Ready(Ok(StreamResult::Completed))),
            Poll::Ready(Ok(room)) => Ok(room.min(CHUNK)),
            Poll::Pending if finish => Err(Poll::Ready(Ok(StreamResult::Cancelled))),
            Poll::Pending => Err(Poll::Pending),
        }
    }

    pub(super) fn write(&self, chunk: Vec<u8>) -> Poll<Result<StreamResult>> {
        Poll::Ready(Ok(match self.channel.write(chunk.into()) {
            Ok(()) => StreamResult::Completed,
            Err(_) => StreamResult::Dropped,
        }))
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.ending.finish(&self.channel);
    }
}

/// The end of a channel that is read. Dropped when the guest wants no more.
pub(super) struct Reads {
    channel: Arc<Channel>,
    is_given: bool,
}

impl Reads {
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        Self { channel, is_given: false }
    }

    /// Gives the end away.
    pub(super) fn into_channel(mut self) -> Arc<Channel> {
        self.is_given = true;
        Arc::clone(&self.channel)
    }

    /// The channel.
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The next chunk; none at the end. Else what to answer.
    pub(super) fn next(
        &self,
        cx: &mut Context<'_>,
        finish: bool,
    ) -> Result<Buffer, Poll<Result<StreamResult>>> {
        Err(Poll::Ready(match self.channel.poll_read(cx) {
            Poll::Ready(Ok(Some(chunk))) => return Ok(chunk),
            Poll::Ready(Ok(None)) => Ok(StreamResult::Dropped),
            // The guest cannot be told otherwise that what it has is not all.
            Poll::Ready(Err(cut)) => Err(wasmtime::Error::new(cut)),
            Poll::Pending if finish => Ok(StreamResult::Cancelled),
            Poll::Pending => return Err(Poll::Pending),
        }))
    }

    /// Whether a read would not wait: what a guest wants to know that asks for nothing.
    pub(super) fn is_readable(&self) -> bool {
        self.channel.is_readable()
    }
}

impl Drop for Reads {
    fn drop(&mut self) {
        if !self.is_given {
            self.channel.leave();
        }
    }
}

/// Where a stream of numbers for a guest comes from.
pub(super) struct In {
    channel: Reads,
    /// Of the chunk that was taken last, what lies behind `at` is still to be given.
    rest: Buffer,
    at: usize,
}

impl In {
    pub(super) fn new(channel: Reads) -> Self {
        Self { channel, rest: Buffer::new(), at: 0 }
    }

    /// Whether there is something to be given without waiting.
    pub(super) fn is_ready(&self) -> bool {
        self.at < self.rest.len() || self.channel.is_readable()
    }

    /// What is to be given next; else what to answer.
    pub(super) fn next(
        &mut self,
        cx: &mut Context<'_>,
        finish: bool,
    ) -> Result<&[u8], Poll<Result<StreamResult>>> {
        if self.at >= self.rest.len() {
            (self.rest, self.at) = (self.channel.next(cx, finish)?, 0);
        }
        Ok(self.rest.get(self.at..).unwrap_or_default())
    }

    /// Says that so many bytes of it were given.
    pub(super) fn gave(&mut self, bytes: usize) {
        self.at += bytes;
    }
}
