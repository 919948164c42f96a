//! Streams between a workload and the extension: chunks of elements, one after another.

use std::{fmt, marker::PhantomData};

use backplane_abi::{STREAM_END, STREAM_FORGET};
use backplane_wire::{Decode, Encode, Error, Reader, Writer};

use crate::{
    Failure, FailureKind,
    element::Element,
    end::{self, End},
    host::Home,
};

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

/// A stream: the end that is written, and the one that is given away.
pub(crate) fn make<T>(home: &Home) -> Result<(StreamWriter<T>, StreamReader<T>), Failure> {
    let (writes, reads) = end::make(home)?;
    let writer = StreamWriter { end: writes, _of: PhantomData };
    Ok((writer, StreamReader { end: reads, _of: PhantomData }))
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
        let chunk = self.end.read().await?;
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
            T::append(chunk, &mut all);
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
        self.end.write(T::buffer(chunk)).await
    }

    /// Ends the stream: that was all of it.
    pub fn finish(self) {
        self.end.over();
        self.end.tell(STREAM_END);
    }
}

impl<T> Encode for StreamReader<T> {
    fn encode(&self, writer: &mut Writer) {
        self.end.encode(writer);
    }

    fn size_hint(&self) -> usize {
        End::SIZE
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
        self.end.encode(writer);
    }

    fn size_hint(&self) -> usize {
        End::SIZE
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
        f.debug_tuple("StreamReader").field(&self.end).finish()
    }
}

impl<T> fmt::Debug for StreamWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamWriter").field(&self.end).finish()
    }
}
