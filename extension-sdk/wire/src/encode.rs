//! The Rust types that have a WIT type, written.

use crate::{Form, Writer, room};

/// A Rust type that a WIT type maps to, and how its value is written.
///
/// Implemented here for every WIT type that Rust has a type for; `backplane_sdk::generate!`
/// implements it for records, variants, enums and flags.
pub trait Encode {
    /// Whether it is a number of fixed width, the elements of which a list holds as one block in the
    /// local form.
    const IS_NUMBER: bool = false;

    /// Appends the value.
    fn encode(&self, writer: &mut Writer);

    /// Writes the value as a message of its own.
    #[inline]
    fn encode_message(&self, writer: &mut Writer) {
        self.encode(writer);
    }

    /// A guess at the bytes that the value takes, so that a message is allocated once. Cheap; may be
    /// wrong.
    fn size_hint(&self) -> usize {
        8
    }

    /// Appends the elements of a list, without its length. Numbers override it with a block copy.
    fn encode_elements(elements: &[Self], writer: &mut Writer)
    where
        Self: Sized,
    {
        for element in elements {
            element.encode(writer);
        }
    }
}

macro_rules! scalars {
    ($($ty:ty: $one:ident $(, $many:ident)?;)*) => {$(
        impl Encode for $ty {
            $(
                const IS_NUMBER: bool = {
                    let _: fn(&mut Writer, &[Self]) = Writer::$many;
                    true
                };
            )?

            #[inline]
            fn encode(&self, writer: &mut Writer) {
                writer.$one(*self);
            }
            $(fn encode_elements(elements: &[Self], writer: &mut Writer) {
                writer.$many(elements);
            })?
        }
    )*};
}

scalars! {
    bool: bool;
    u8: u8, block;
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

impl Encode for str {
    #[inline]
    fn encode(&self, writer: &mut Writer) {
        writer.string(self);
    }

    #[inline]
    fn size_hint(&self) -> usize {
        room(self.len())
    }
}

impl Encode for String {
    #[inline]
    fn encode(&self, writer: &mut Writer) {
        writer.string(self);
    }

    #[inline]
    fn size_hint(&self) -> usize {
        room(self.len())
    }
}

impl Encode for bytes::Bytes {
    #[inline]
    fn encode(&self, writer: &mut Writer) {
        writer.byte_list(self);
    }

    #[inline]
    fn encode_message(&self, writer: &mut Writer) {
        (**self).encode_message(writer);
    }

    #[inline]
    fn size_hint(&self) -> usize {
        room(self.len())
    }
}

impl<T: Encode> Encode for [T] {
    #[inline]
    fn encode(&self, writer: &mut Writer) {
        writer.length(self.len());
        T::encode_elements(self, writer);
    }

    #[inline]
    fn encode_message(&self, writer: &mut Writer) {
        if !T::IS_NUMBER || writer.form() == Form::Wrpc {
            writer.length(self.len());
        }
        T::encode_elements(self, writer);
    }

    #[inline]
    fn size_hint(&self) -> usize {
        // In memory an element is about as large as on the wire, what it points to apart.
        room(size_of_val(self))
    }
}

impl<T: Encode> Encode for Vec<T> {
    #[inline]
    fn encode(&self, writer: &mut Writer) {
        self.as_slice().encode(writer);
    }

    #[inline]
    fn encode_message(&self, writer: &mut Writer) {
        self.as_slice().encode_message(writer);
    }

    #[inline]
    fn size_hint(&self) -> usize {
        self.as_slice().size_hint()
    }
}

impl<T: Encode + ?Sized> Encode for &T {
    #[inline]
    fn encode(&self, writer: &mut Writer) {
        (**self).encode(writer);
    }

    #[inline]
    fn encode_message(&self, writer: &mut Writer) {
        (**self).encode_message(writer);
    }

    #[inline]
    fn size_hint(&self) -> usize {
        (**self).size_hint()
    }
}

impl<T: Encode + ?Sized> Encode for Box<T> {
    #[inline]
    fn encode(&self, writer: &mut Writer) {
        (**self).encode(writer);
    }

    #[inline]
    fn encode_message(&self, writer: &mut Writer) {
        (**self).encode_message(writer);
    }

    #[inline]
    fn size_hint(&self) -> usize {
        (**self).size_hint()
    }
}

impl<T: Encode + ?Sized> Encode for std::sync::Arc<T> {
    #[inline]
    fn encode(&self, writer: &mut Writer) {
        (**self).encode(writer);
    }

    #[inline]
    fn encode_message(&self, writer: &mut Writer) {
        (**self).encode_message(writer);
    }

    #[inline]
    fn size_hint(&self) -> usize {
        (**self).size_hint()
    }
}

impl<T: Encode> Encode for Option<T> {
    #[inline]
    fn encode(&self, writer: &mut Writer) {
        writer.bool(self.is_some());
        if let Some(value) = self {
            value.encode(writer);
        }
    }

    #[inline]
    fn size_hint(&self) -> usize {
        1 + self.as_ref().map_or(0, T::size_hint)
    }
}

impl<T: Encode, E: Encode> Encode for Result<T, E> {
    #[inline]
    fn encode(&self, writer: &mut Writer) {
        writer.bool(self.is_err());
        match self {
            Ok(value) => value.encode(writer),
            Err(error) => error.encode(writer),
        }
    }

    #[inline]
    fn size_hint(&self) -> usize {
        1 + match self {
            Ok(value) => value.size_hint(),
            Err(error) => error.size_hint(),
        }
    }
}

impl<A: Encode> Encode for (A,) {
    #[inline]
    fn encode(&self, writer: &mut Writer) {
        self.0.encode(writer);
    }

    #[inline]
    fn encode_message(&self, writer: &mut Writer) {
        self.0.encode_message(writer);
    }

    #[inline]
    fn size_hint(&self) -> usize {
        self.0.size_hint()
    }
}

macro_rules! tuples {
    ($(($($name:ident)*))*) => {$(
        impl<$($name: Encode),*> Encode for ($($name,)*) {
            #[inline]
            #[allow(non_snake_case, reason = "a type parameter names its field")]
            fn encode(&self, #[allow(unused_variables, reason = "the empty tuple")] writer: &mut Writer) {
                let ($($name,)*) = self;
                $($name.encode(writer);)*
            }

            #[inline]
            #[allow(non_snake_case, reason = "a type parameter names its field")]
            fn size_hint(&self) -> usize {
                let ($($name,)*) = self;
                0 $(+ $name.size_hint())*
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
