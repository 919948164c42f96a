//! Streams between a workload and the extension: chunks of elements, one after another.

use std::{
    fmt,
    marker::PhantomData,
    ops::Deref,
    sync::atomic::{AtomicBool, Ordering},
};

use abi_stable::std_types::RResult;
use backplane_abi::{
    Buffer, CallContext, HOST_STREAMS, STREAM_END, STREAM_FORGET, STREAM_MAKE, STREAM_READ,
    STREAM_WRITE,
};
use backplane_wire::{Decode, Encode, Error, Form, Problem, Reader, Writer};
use bytes::Bytes;
use futures::FutureExt as _;

use crate::{
    Failure, FailureKind, List, Number,
    failure::from_failed,
    host::Home,
    resource::{self, Table},
};

/// An end of a stream that the extension has. Given up when it is dropped.
struct End {
    home: Home,
    handle: u64,
    /// Whether there is nothing to give up: it has come to its end, or was given away.
    is_over: AtomicBool,
}

impl End {
    fn new(home: Home, handle: u64) -> Self {
        Self { home, handle, is_over: AtomicBool::new(false) }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let handle = reader.handle()?;
        let home = resource::with_current(Table::home);
        Ok(Self::new(home.ok_or_else(|| reader.error(Problem::DeadHandle))?, handle))
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn over(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn call(&self) -> CallContext {
        CallContext { reserved: [self.handle, 0, 0, 0], ..CallContext::default() }
    }

    /// Asks for what is answered at once.
    fn tell(&self, function: &str) {
        let told = self.home.ask(HOST_STREAMS, function, Buffer::new(), &self.call());
        if let Some(RResult::RErr(failed)) = told.now_or_never() {
            tracing::debug!("`{HOST_STREAMS}#{function}`: {}", failed.message);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if !self.is_over() {
            self.tell(STREAM_FORGET);
        }
    }
}

/// The end of a stream that is read: a `stream<T>` of WIT. Dropped, it wants no more, and the writer is told.
///
/// A handler takes it as a parameter, and may read it when it has answered; and it returns one, of a stream that it
/// [makes](crate::Context::stream) or of one that it was given.
pub struct StreamReader<T> {
    end: End,
    _of: PhantomData<fn() -> T>,
}

/// The end of a stream that is written. Whoever drops it has [finished](Self::finish) the stream or has it cut:
/// behind what was written, the reader finds an error instead of the end.
pub struct StreamWriter<T> {
    end: End,
    _of: PhantomData<fn(T)>,
}

/// What streams may be of: `u8`, and the numbers that are wider than a byte.
pub trait Element: Copy + Send + Sync + sealed::Sealed + 'static {
    /// Several of them: [`Bytes`], or a [`List`].
    type Chunk: Deref<Target = [Self]> + Send;

    #[doc(hidden)]
    fn chunk(buffer: Buffer) -> Result<Self::Chunk, Error>;

    #[doc(hidden)]
    fn buffer(chunk: Self::Chunk) -> Buffer;
}

mod sealed {
    #[allow(unnameable_types, reason = "so that nobody else implements it")]
    pub trait Sealed {}
}

impl sealed::Sealed for u8 {}

impl Element for u8 {
    type Chunk = Bytes;

    fn chunk(buffer: Buffer) -> Result<Bytes, Error> {
        Ok(Bytes::from_owner(buffer))
    }

    fn buffer(chunk: Bytes) -> Buffer {
        Vec::from(chunk).into()
    }
}

impl<T: Number> sealed::Sealed for T {}

impl<T: Number> Element for T {
    type Chunk = List<T>;

    fn chunk(buffer: Buffer) -> Result<List<T>, Error> {
        List::from_message(buffer, Form::Local)
    }

    fn buffer(chunk: List<T>) -> Buffer {
        chunk.into_message(Form::Local)
    }
}

/// A stream: the end that is written, and the one that is given away.
pub(crate) fn make<T>(home: &Home) -> Result<(StreamWriter<T>, StreamReader<T>), Failure> {
    let made = home.ask(HOST_STREAMS, STREAM_MAKE, Buffer::new(), &CallContext::default());
    let made = made.now_or_never().map(RResult::into_result);
    let made = made.ok_or_else(|| Failure::new("the host does not answer at once"))?;
    let (writes, reads) = backplane_wire::from_slice(&made.map_err(from_failed)?, Form::Local)?;
    let end = |handle| End::new(*home, handle);
    let writer = StreamWriter { end: end(writes), _of: PhantomData };
    Ok((writer, StreamReader { end: end(reads), _of: PhantomData }))
}

impl<T: Element> StreamReader<T> {
    /// The next elements, as many as came at once and at least one; none at the end of the stream. Cancel safe:
    /// a chunk is taken when it is returned.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the writer ended before its stream did: what was read is not all.
    pub async fn next(&mut self) -> Result<Option<T::Chunk>, Failure> {
        if self.end.is_over() {
            return Ok(None);
        }
        let read = self.end.home.ask(HOST_STREAMS, STREAM_READ, Buffer::new(), &self.end.call());
        let chunk = read.await.into_result().map_err(from_failed)?;
        if chunk.is_empty() {
            self.end.over();
            self.end.tell(STREAM_FORGET);
            return Ok(None);
        }
        Ok(Some(T::chunk(chunk)?))
    }

    /// All that is left of it, if that is at most so many elements.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next), and when there are more.
    pub async fn read_to_end(mut self, limit: usize) -> Result<Vec<T>, Failure> {
        let mut all = Vec::new();
        while let Some(chunk) = self.next().await? {
            if all.len() + chunk.len() > limit {
                let message = format_args!("a stream has more than {limit} elements");
                return Err(Failure::of(FailureKind::Denied, message));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }
}

impl<T: Element> StreamWriter<T> {
    /// Writes elements, when there is room for more. Cancelled, it has written all of them or none. Few large
    /// chunks cost less than many small ones.
    ///
    /// Answers false where nobody reads any more; then and from then on what is written is gone.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the workload has ended.
    pub async fn write(&mut self, elements: impl Into<T::Chunk>) -> Result<bool, Failure> {
        let chunk = elements.into();
        if chunk.is_empty() {
            return Ok(true);
        }
        let chunk = T::buffer(chunk);
        let written = self.end.home.ask(HOST_STREAMS, STREAM_WRITE, chunk, &self.end.call());
        let (written,) = backplane_wire::from_slice(
            &written.await.into_result().map_err(from_failed)?,
            Form::Local,
        )?;
        Ok(written)
    }

    /// Ends the stream: that was all of it.
    pub fn finish(self) {
        self.end.over();
        self.end.tell(STREAM_END);
    }
}

impl<T> Encode for StreamReader<T> {
    fn encode(&self, writer: &mut Writer) {
        writer.handle(self.end.handle);
        // It is the reader's of the message from here on.
        self.end.over();
    }

    fn size_hint(&self) -> usize {
        9
    }
}

impl<'a, T> Decode<'a> for StreamReader<T> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        Ok(Self { end: End::decode(reader)?, _of: PhantomData })
    }
}

/// As an `output-stream` of `wasi:io`: the workload writes in the extension's place.
impl Encode for StreamWriter<u8> {
    fn encode(&self, writer: &mut Writer) {
        writer.handle(self.end.handle);
        self.end.over();
    }

    fn size_hint(&self) -> usize {
        9
    }
}

/// As an `output-stream` of `wasi:io`: the extension writes in the workload's place.
impl<'a> Decode<'a> for StreamWriter<u8> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        Ok(Self { end: End::decode(reader)?, _of: PhantomData })
    }
}

impl<T> fmt::Debug for StreamReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamReader").field(&self.end.handle).finish()
    }
}

impl<T> fmt::Debug for StreamWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamWriter").field(&self.end.handle).finish()
    }
}
