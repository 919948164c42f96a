//! A list of numbers that is a whole parameter or a whole result.

use std::{fmt, ops::Deref};

use backplane_abi::{Buffer, bytemuck};
use backplane_wire::{Decode, Encode, Error, Form, from_slice, to_vec};

/// A number of WIT that is wider than a byte.
pub trait Number:
    bytemuck::Pod + Encode + for<'a> Decode<'a> + Send + Sync + fmt::Debug + PartialEq + sealed::Sealed
{
}

mod sealed {
    #[allow(unnameable_types, reason = "so that nobody else implements it")]
    pub trait Sealed {}
}

macro_rules! numbers {
    ($($ty:ty)*) => {$(
        impl sealed::Sealed for $ty {}
        impl Number for $ty {}
    )*};
}

numbers!(u16 u32 u64 i16 i32 i64 f32 f64);

/// A `list<T>` of numbers that a function takes as its only parameter or returns as its result.
///
/// It is the message that it came in, or a vector; either way it is handed over and not copied. Read
/// it as a slice; make one of a `Vec` with `into()`.
pub struct List<T: Number>(Held<T>);

enum Held<T> {
    /// The elements, in the byte order of the local form and of this machine, aligned for `T`.
    Message(Buffer),
    Vector(Vec<T>),
}

impl<T: Number> List<T> {
    /// Takes the message of a function whose only parameter is the list.
    pub(crate) fn from_message(message: Buffer, form: Form) -> Result<Self, Error> {
        if form == Form::Local
            && cfg!(target_endian = "little")
            && bytemuck::try_cast_slice::<u8, T>(&message).is_ok()
        {
            return Ok(Self(Held::Message(message)));
        }
        from_slice(&message, form).map(|list| Self(Held::Vector(list)))
    }

    /// The message of a function whose result is the list.
    pub(crate) fn into_message(self, form: Form) -> Buffer {
        match self.0 {
            Held::Message(message) if form == Form::Local => message,
            Held::Vector(list) if form == Form::Local && cfg!(target_endian = "little") => {
                Buffer::from_numbers(list)
            }
            held => to_vec(&*Self(held), form).into(),
        }
    }

    /// The elements as a vector; copied where they came from the host.
    pub fn into_vec(self) -> Vec<T> {
        match self.0 {
            Held::Vector(list) => list,
            Held::Message(_) => self.to_vec(),
        }
    }
}

impl<T: Number> Deref for List<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.0 {
            // `from_message` has tried the same.
            Held::Message(message) => bytemuck::try_cast_slice(message).unwrap_or_default(),
            Held::Vector(list) => list,
        }
    }
}

impl<T: Number> From<Vec<T>> for List<T> {
    fn from(list: Vec<T>) -> Self {
        Self(Held::Vector(list))
    }
}

impl<T: Number> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(numbers: I) -> Self {
        Vec::from_iter(numbers).into()
    }
}

impl<T: Number> Default for List<T> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<T: Number> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Number> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_handed_over_and_not_copied() {
        let list = List::from(vec![1_u32, 2, 3]);
        let place = list.as_ptr().cast::<u8>();
        let message = list.into_message(Form::Local);
        assert_eq!((message.as_ptr(), message.len()), (place, 12));
        let back = List::<u32>::from_message(message, Form::Local).unwrap();
        assert_eq!((&*back, back.as_ptr().cast()), ([1, 2, 3].as_slice(), place));
        assert_eq!(back.into_message(Form::Local).as_ptr(), place);
    }

    #[test]
    fn a_list_that_leaves_the_process_has_the_other_form() {
        let message = Buffer::from(to_vec(&vec![300_u16, 1], Form::Local));
        let list = List::<u16>::from_message(message, Form::Local).unwrap();
        let message = list.into_message(Form::Wrpc);
        assert_eq!(*message, *to_vec(&vec![300_u16, 1], Form::Wrpc));
        let list = List::<u16>::from_message(message, Form::Wrpc).unwrap();
        assert_eq!(list.into_vec(), [300, 1]);
    }

    #[test]
    fn a_message_that_is_no_list_is_refused() {
        let error = List::<u64>::from_message(vec![0; 9].into(), Form::Local).unwrap_err();
        assert_eq!(error.problem, backplane_wire::Problem::TrailingBytes(1));
        assert!(List::<u64>::from_message(Buffer::new(), Form::Local).unwrap().is_empty());
    }
}
