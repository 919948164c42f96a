//! Futures between a workload and the extension: a value that comes later, once.

use std::{fmt, marker::PhantomData};

use backplane_abi::{STREAM_END, STREAM_FORGET};
use backplane_wire::{Decode, Encode, Error, Form, Problem, Reader, Writer};
use futures::FutureExt as _;

use crate::{
    Failure,
    end::{self, End},
    host::Home,
};

/// The end of a future that is read: a `future<T>` of WIT. Dropped, it wants no value, and whoever writes it may know.
///
/// A handler takes it as a parameter, and may wait for it when it has answered; and it returns one, of a future that
/// it [makes](crate::Context::future) or of one that it was given.
pub struct FutureReader<T> {
    end: End,
    _of: PhantomData<fn() -> T>,
}

/// The end of a future that is written. Dropped without its value, the reader finds an error.
pub struct FutureWriter<T> {
    end: End,
    _of: PhantomData<fn(T)>,
}

/// A future: the end that is written, and the one that is given away.
pub(crate) fn make<T>(home: &Home) -> Result<(FutureWriter<T>, FutureReader<T>), Failure> {
    let (writes, reads) = end::make(home)?;
    let writer = FutureWriter { end: writes, _of: PhantomData };
    Ok((writer, FutureReader { end: reads, _of: PhantomData }))
}

/// Its value is a list of one in the message.
const ONE: usize = 1;

impl<T: for<'a> Decode<'a>> FutureReader<T> {
    /// Waits for its value.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the writer ended without having written it.
    pub async fn value(self) -> Result<T, Failure> {
        let message = self.end.read().await?;
        let mut reader = Reader::new(&message, Form::Local);
        // As a byte: a list's length is held against what follows, and a value may be nothing.
        if usize::from(reader.u8()?) != ONE {
            return Err(reader.error(Problem::TrailingBytes(reader.remaining())).into());
        }
        let value = T::decode(&mut reader)?;
        reader.finish()?;
        self.end.over();
        self.end.tell(STREAM_FORGET);
        Ok(value)
    }
}

impl<T: Encode> FutureWriter<T> {
    /// Writes its value. False where nobody wants it any more.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the workload has ended.
    pub fn write(self, value: &T) -> Result<bool, Failure> {
        let mut writer = Writer::new(Form::Local);
        writer.length(ONE);
        value.encode(&mut writer);
        // There is room for the first that is written.
        let written = self.end.write(writer.into_vec().into()).now_or_never();
        let written = written.ok_or_else(|| Failure::new("the host does not answer at once"))??;
        self.end.over();
        self.end.tell(STREAM_END);
        Ok(written)
    }
}

impl<T> Encode for FutureReader<T> {
    fn encode(&self, writer: &mut Writer) {
        self.end.encode(writer);
    }

    fn size_hint(&self) -> usize {
        End::SIZE
    }
}

impl<'a, T> Decode<'a> for FutureReader<T> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        Ok(Self { end: End::decode(reader)?, _of: PhantomData })
    }
}

impl<T> fmt::Debug for FutureReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FutureReader").field(&self.end).finish()
    }
}

impl<T> fmt::Debug for FutureWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FutureWriter").field(&self.end).finish()
    }
}
