//! The Rust types that have a WIT type, read.

use crate::{Error, Form, Reader};

/// A Rust type that a WIT type maps to, and how its value is read. `'a` is the life of the message:
/// `&'a str` and `&'a [u8]` borrow from it.
pub trait Decode<'a>: Sized {
    /// The width in bytes of a number, the elements of which a list holds as one block in the local
    /// form; 0 for every other type.
    const WIDTH: usize = 0;

    /// Takes one value off the front of the message.
    ///
    /// # Errors
    ///
    /// [`Error`] when the bytes are not such a value.
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error>;

    /// Takes the value that is a message of its own.
    ///
    /// # Errors
    ///
    /// [`Error`] when the bytes are not such a value.
    #[inline]
    fn decode_message(reader: &mut Reader<'a>) -> Result<Self, Error> {
        Self::decode(reader)
    }

    /// Takes the elements of a list of which the length is known. Numbers override it with a block
    /// copy.
    ///
    /// # Errors
    ///
    /// [`Error`] when the bytes are not such values.
    fn decode_elements(reader: &mut Reader<'a>, length: usize) -> Result<Vec<Self>, Error> {
        reader.descend()?;
        // A hostile length was refused against the bytes left; an element may still be far larger
        // in memory than on the wire, so room is made for what could be there, within reason.
        let mut elements = Vec::with_capacity(length.min(4096));
        for _ in 0..length {
            elements.push(Self::decode(reader)?);
        }
        reader.ascend();
        Ok(elements)
    }
}

macro_rules! scalars {
    ($($ty:ty: $one:ident $(, $many:ident)?;)*) => {$(
        impl<'a> Decode<'a> for $ty {
            $(
                const WIDTH: usize = {
                    let _: fn(&mut Reader<'a>, usize) -> Result<Vec<Self>, Error> = Reader::$many;
                    size_of::<Self>()
                };
            )?

            #[inline]
            fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
                reader.$one()
            }
            $(fn decode_elements(reader: &mut Reader<'a>, length: usize) -> Result<Vec<Self>, Error> {
                reader.$many(length)
            })?
        }
    )*};
}

scalars! {
    bool: bool;
    i8: s8, s8s;
    u16: u16, u16s;
    u32: u32, u32s;
    u64: u64, u64s;
    i16: s16, s16s;
    i32: s32, s32s;
    i64: s64, s64s;
    f32: f32, f32s;
    f64: f64, f64s;
    char: char;
}

impl<'a> Decode<'a> for u8 {
    const WIDTH: usize = 1;

    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        reader.u8()
    }

    fn decode_elements(reader: &mut Reader<'a>, length: usize) -> Result<Vec<Self>, Error> {
        Ok(reader.block(length)?.to_vec())
    }
}

impl<'a> Decode<'a> for &'a str {
    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        reader.string()
    }
}

impl<'a> Decode<'a> for String {
    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        reader.string().map(str::to_owned)
    }
}

impl<'a> Decode<'a> for &'a [u8] {
    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        reader.byte_list()
    }

    #[inline]
    fn decode_message(reader: &mut Reader<'a>) -> Result<Self, Error> {
        match reader.form() {
            Form::Local => reader.block(reader.remaining()),
            Form::Wrpc => reader.byte_list(),
        }
    }
}

impl<'a> Decode<'a> for bytes::Bytes {
    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        reader.shared_byte_list()
    }

    #[inline]
    fn decode_message(reader: &mut Reader<'a>) -> Result<Self, Error> {
        let bytes = <&[u8]>::decode_message(reader)?;
        Ok(reader.share(bytes))
    }
}

impl<'a, T: Decode<'a>> Decode<'a> for Vec<T> {
    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        let length = reader.length()?;
        T::decode_elements(reader, length)
    }

    #[inline]
    fn decode_message(reader: &mut Reader<'a>) -> Result<Self, Error> {
        match reader.form() {
            Form::Local if T::WIDTH > 0 => T::decode_elements(reader, reader.whole(T::WIDTH)),
            Form::Local | Form::Wrpc => Self::decode(reader),
        }
    }
}

impl<'a, T: Decode<'a>> Decode<'a> for Box<T> {
    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        T::decode(reader).map(Box::new)
    }

    #[inline]
    fn decode_message(reader: &mut Reader<'a>) -> Result<Self, Error> {
        T::decode_message(reader).map(Box::new)
    }
}

impl<'a, T: Decode<'a>> Decode<'a> for Option<T> {
    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        if reader.bool()? { T::decode(reader).map(Some) } else { Ok(None) }
    }
}

impl<'a, T: Decode<'a>, E: Decode<'a>> Decode<'a> for Result<T, E> {
    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        if reader.bool()? { E::decode(reader).map(Err) } else { T::decode(reader).map(Ok) }
    }
}

impl<'a, A: Decode<'a>> Decode<'a> for (A,) {
    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        A::decode(reader).map(|value| (value,))
    }

    #[inline]
    fn decode_message(reader: &mut Reader<'a>) -> Result<Self, Error> {
        A::decode_message(reader).map(|value| (value,))
    }
}

macro_rules! tuples {
    ($(($($name:ident)*))*) => {$(
        impl<'a, $($name: Decode<'a>),*> Decode<'a> for ($($name,)*) {
            #[inline]
            fn decode(#[allow(unused_variables, reason = "the empty tuple")] reader: &mut Reader<'a>) -> Result<Self, Error> {
                Ok(($($name::decode(reader)?,)*))
            }
        }
    )*};
}

tuples! {
    () (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H)
    (A B C D E F G H I) (A B C D E F G H I J) (A B C D E F G H I J K) (A B C D E F G H I J K L)
    (A B C D E F G H I J K L M) (A B C D E F G H I J K L M N) (A B C D E F G H I J K L M N O)
    (A B C D E F G H I J K L M N O P)
}
