//! The streams of `wasi:io` between a guest and a provider. To the guest they are entries of its store's table, as
//! every stream of its standard library is; to the provider they are ends of channels.

use std::{
    future::poll_fn,
    sync::{Arc, LazyLock},
    task::Poll,
};

use backplane_abi::Buffer;
use bytes::Bytes;
use tokio::sync::watch;
use wasmtime::component::{Resource, ResourceTable, ResourceType};
use wasmtime_wasi::{
    async_trait,
    p2::{
        DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamError,
        StreamResult,
    },
};

use super::{
    channel::{Channel, Cut},
    streams::{Ending, Streams},
};
use crate::name::InterfaceName;

/// Bytes that are moved at once.
const CHUNK: usize = 64 << 10;

/// A resource of `wasi:io` that crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An `input-stream`.
    Input,
    /// An `output-stream`.
    Output,
}

/// Whether an interface is of `wasi:io`, whose types are always the host's own.
pub fn is_io(interface: &InterfaceName) -> bool {
    let version = interface.version();
    interface.package() == "wasi:io"
        && version.is_some_and(|version| (version.major, version.minor) == (0, 2))
}

impl Kind {
    /// That of a resource type by its interface and name, if it is one.
    pub(super) fn of(interface: Option<&InterfaceName>, name: &str) -> Option<Self> {
        interface.filter(|interface| is_io(interface))?;
        match name {
            "input-stream" => Some(Self::Input),
            "output-stream" => Some(Self::Output),
            _ => None,
        }
    }

    /// That of a guest's resource type, if it is one.
    pub(super) fn of_type(ty: ResourceType) -> Option<Self> {
        if ty == ResourceType::host::<DynInputStream>() {
            Some(Self::Input)
        } else if ty == ResourceType::host::<DynOutputStream>() {
            Some(Self::Output)
        } else {
            None
        }
    }

    /// Makes an entry of the table for an end that the provider gives away; its representation. None where the
    /// provider does not have the end.
    pub(super) fn enter(
        self,
        table: &mut ResourceTable,
        streams: &Streams,
        handle: u64,
        ending: &Ending,
    ) -> wasmtime::Result<Option<u32>> {
        let channel = match self {
            Self::Input => streams.take(handle),
            Self::Output => streams.take_writer(handle),
        };
        let Some(channel) = channel else { return Ok(None) };
        Ok(Some(match self {
            Self::Input => {
                let stream: DynInputStream = Box::new(Reads { channel, rest: Bytes::new() });
                table.push(stream)?.rep()
            }
            Self::Output => {
                let stream: DynOutputStream = Box::new(Writes { channel, ending: ending.clone() });
                table.push(stream)?.rep()
            }
        }))
    }

    /// Takes a guest's stream out of the table and moves what it has, or takes, through a channel; the handle of
    /// the provider's end.
    pub(super) fn leave(
        self,
        table: &mut ResourceTable,
        streams: &Streams,
        rep: u32,
    ) -> wasmtime::Result<u64> {
        let channel = Arc::new(Channel::default());
        Ok(match self {
            Self::Input => {
                let stream = table.delete(Resource::<DynInputStream>::new_own(rep))?;
                tokio::spawn(read_all(stream, Arc::clone(&channel)));
                streams.give(channel)
            }
            Self::Output => {
                let stream = table.delete(Resource::<DynOutputStream>::new_own(rep))?;
                tokio::spawn(write_all(stream, Arc::clone(&channel), Counted::new()));
                streams.give_writer(channel)
            }
        })
    }
}

/// Moves all that a guest's input stream has into a channel.
async fn read_all(mut stream: DynInputStream, channel: Arc<Channel>) {
    loop {
        let Ok(room) = poll_fn(|cx| channel.poll_room(cx)).await else { return };
        tokio::select! {
            () = stream.ready() => {}
            // A stream may never have anything.
            () = poll_fn(|cx| channel.poll_left(cx)) => return,
        }
        match stream.read(room.min(CHUNK)) {
            Ok(bytes) => {
                if channel.write(Vec::from(bytes).into()).is_err() {
                    return;
                }
            }
            Err(StreamError::Closed) => return channel.end(),
            Err(StreamError::LastOperationFailed(_) | StreamError::Trap(_)) => {
                return channel.cut();
            }
        }
    }
}

/// How many of the guests' output streams are being written for providers.
static WRITTEN: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));

/// Waits until all that providers have written into streams of guests is there. A guest may have ended meanwhile.
pub async fn all_written() {
    // The sender is never dropped.
    drop(WRITTEN.subscribe().wait_for(|written| *written == 0).await);
}

/// A stream that is written as long as this lives.
struct Counted;

impl Counted {
    fn new() -> Self {
        WRITTEN.send_modify(|written| *written += 1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        WRITTEN.send_modify(|written| *written -= 1);
    }
}

/// Moves all that comes through a channel into a guest's output stream.
async fn write_all(mut stream: DynOutputStream, channel: Arc<Channel>, _counted: Counted) {
    // However it ends, the provider is told that nobody takes more.
    let _left = Leaves(&channel);
    while let Ok(Some(chunk)) = poll_fn(|cx| channel.poll_read(cx)).await {
        let mut bytes = Bytes::from_owner(chunk);
        while !bytes.is_empty() {
            let Ok(room) = stream.write_ready().await else { return };
            if stream.write(bytes.split_to(room.min(bytes.len()))).is_err() {
                return;
            }
        }
    }
    if stream.flush().is_ok() {
        stream.ready().await;
    }
}

struct Leaves<'a>(&'a Channel);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// What a guest reads that a provider writes.
struct Reads {
    channel: Arc<Channel>,
    /// Of the chunk that was taken last.
    rest: Bytes,
}

impl InputStream for Reads {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if self.rest.is_empty() && size > 0 {
            match self.channel.try_read() {
                Poll::Ready(Ok(Some(chunk))) => self.rest = Bytes::from_owner(chunk),
                Poll::Ready(Ok(None)) => return Err(StreamError::Closed),
                Poll::Ready(Err(cut)) => return Err(failed(cut)),
                Poll::Pending => {}
            }
        }
        Ok(self.rest.split_to(size.min(self.rest.len())))
    }
}

fn failed(cut: Cut) -> StreamError {
    StreamError::LastOperationFailed(wasmtime::Error::new(cut))
}

#[async_trait]
impl Pollable for Reads {
    async fn ready(&mut self) {
        if self.rest.is_empty() {
            poll_fn(|cx| self.channel.poll_readable(cx)).await;
        }
    }
}

impl Drop for Reads {
    fn drop(&mut self) {
        self.channel.leave();
    }
}

/// What a guest writes that a provider reads.
struct Writes {
    channel: Arc<Channel>,
    ending: Ending,
}

impl OutputStream for Writes {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let chunk: Buffer = Vec::from(bytes).into();
        self.channel.write(chunk).map_err(|_| StreamError::Closed)
    }

    /// What was written is where the provider finds it.
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match self.channel.try_room() {
            Poll::Ready(Ok(room)) => Ok(room),
            Poll::Ready(Err(_)) => Err(StreamError::Closed),
            Poll::Pending => Ok(0),
        }
    }
}

#[async_trait]
impl Pollable for Writes {
    async fn ready(&mut self) {
        // That nobody reads any more, the next write says.
        poll_fn(|cx| self.channel.poll_room(cx).map(|_| ())).await;
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        self.ending.finish(&self.channel);
    }
}
