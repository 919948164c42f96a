//! What streams may be of, and how a chunk of it crosses.

use std::ops::Deref;

use backplane_abi::Buffer;
use backplane_wire::{Decode, Encode, Error, Form, Reader, Writer};
use bytes::Bytes;

use crate::List;

/// What streams may be of: every type without resources, streams and futures in it. What
/// [`generate!`](crate::generate) makes of a world's types has it.
pub trait Element: Sized + Send + 'static {
    /// Several of them: [`Bytes`] of `u8`, a [`List`] of other numbers, else a vector.
    type Chunk: Deref<Target = [Self]> + Send;

    #[doc(hidden)]
    fn chunk(buffer: Buffer) -> Result<Self::Chunk, Error>;

    #[doc(hidden)]
    fn buffer(chunk: Self::Chunk) -> Buffer;

    #[doc(hidden)]
    fn append(chunk: Self::Chunk, all: &mut Vec<Self>);
}

impl Element for u8 {
    type Chunk = Bytes;

    fn chunk(buffer: Buffer) -> Result<Bytes, Error> {
        Ok(Bytes::from_owner(buffer))
    }

    fn buffer(chunk: Bytes) -> Buffer {
        if chunk.is_unique() { Vec::from(chunk).into() } else { Buffer::from_owner(chunk) }
    }

    fn append(chunk: Bytes, all: &mut Vec<u8>) {
        all.extend_from_slice(&chunk);
    }
}

impl Element for i8 {
    type Chunk = Vec<i8>;

    fn chunk(buffer: Buffer) -> Result<Vec<i8>, Error> {
        Reader::new(&buffer, Form::Local).s8s(buffer.len())
    }

    fn buffer(chunk: Vec<i8>) -> Buffer {
        let mut writer = Writer::new(Form::Local);
        writer.s8s(&chunk);
        writer.into_vec().into()
    }

    fn append(mut chunk: Vec<i8>, all: &mut Vec<i8>) {
        all.append(&mut chunk);
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Element for $number {
            type Chunk = List<$number>;

            fn chunk(buffer: Buffer) -> Result<List<$number>, Error> {
                List::from_message(buffer, Form::Local)
            }

            fn buffer(chunk: List<$number>) -> Buffer {
                chunk.into_message(Form::Local)
            }

            fn append(chunk: List<$number>, all: &mut Vec<$number>) {
                all.extend_from_slice(&chunk);
            }
        }
    )*};
}

numbers!(u16 u32 u64 i16 i32 i64 f32 f64);

/// The values of a chunk, as a list within a message: their length goes before them.
#[doc(hidden)]
pub fn values<T: for<'a> Decode<'a>>(buffer: Buffer) -> Result<Vec<T>, Error> {
    let buffer = Bytes::from_owner(buffer);
    let mut reader = Reader::sharing(&buffer, Form::Local);
    let values = Vec::decode(&mut reader)?;
    reader.finish()?;
    Ok(values)
}

/// The other way.
#[doc(hidden)]
pub fn from_values<T: Encode>(values: &Vec<T>) -> Buffer {
    let mut writer = Writer::with_capacity(Form::Local, values.size_hint());
    values.encode(&mut writer);
    writer.into_vec().into()
}

/// Makes a type one that streams may be of.
#[doc(hidden)]
#[macro_export]
macro_rules! __element {
    ($ty:ty) => {
        $crate::__element!(@ [] $ty);
    };
    (@ [$($generics:tt)*] $ty:ty) => {
        impl<$($generics)*> $crate::Element for $ty {
            type Chunk = ::std::vec::Vec<$ty>;

            fn chunk(
                buffer: $crate::abi::Buffer,
            ) -> ::core::result::Result<Self::Chunk, $crate::wire::Error> {
                $crate::__private::values(buffer)
            }

            fn buffer(chunk: Self::Chunk) -> $crate::abi::Buffer {
                $crate::__private::from_values(&chunk)
            }

            fn append(mut chunk: Self::Chunk, all: &mut ::std::vec::Vec<Self>) {
                all.append(&mut chunk);
            }
        }
    };
}

/// What a generic type is of that a stream may be of.
#[doc(hidden)]
pub trait Plain: Encode + for<'a> Decode<'a> + Send + 'static {}

impl<T: Encode + for<'a> Decode<'a> + Send + 'static> Plain for T {}

crate::__element!(bool);
crate::__element!(char);
crate::__element!(String);
crate::__element!(Bytes);
crate::__element!(@ [T: Plain] Vec<T>);
crate::__element!(@ [T: Plain] Option<T>);
crate::__element!(@ [T: Plain, E: Plain] Result<T, E>);
crate::__element!(@ [A: Plain] (A,));
crate::__element!(@ [A: Plain, B: Plain] (A, B));
crate::__element!(@ [A: Plain, B: Plain, C: Plain] (A, B, C));
crate::__element!(@ [A: Plain, B: Plain, C: Plain, D: Plain] (A, B, C, D));
crate::__element!(@ [A: Plain, B: Plain, C: Plain, D: Plain, E: Plain] (A, B, C, D, E));
crate::__element!(@ [A: Plain, B: Plain, C: Plain, D: Plain, E: Plain, F: Plain] (A, B, C, D, E, F));
