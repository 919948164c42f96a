//! Component-model values as bytes: the form in which a value crosses every boundary of Backplane.
//!
//! The encoding is wRPC's (the `SPEC.md` of the `wrpc` crate), which is the component model's value
//! definition encoding: LEB128 integers and lengths, raw bytes for `string` and `list<u8>`,
//! concatenated records and tuples, LEB128 discriminants, `0`/`1` options, `0 = ok` results,
//! little-endian flags, and opaque `list<u8>` handles. This crate knows nothing of a runtime, of a
//! transport or of any interface; the host and the SDK share it.
//!
//! # Two forms
//!
//! [`Form::Wrpc`] is that encoding to the letter and the only one that leaves a process.
//! [`Form::Local`] differs in three rules, each measured in `docs/performance.md`:
//!
//! - Integers wider than a byte are little-endian and of their full width, so that a `list<u32>` is
//!   copied rather than computed.
//! - A *block*, which is the bytes of a string or the elements of a list of numbers, begins at a
//!   multiple of 32 bytes from the start of the message where it has 2,048 bytes or more; the bytes
//!   skipped for it are zero. Copying it then costs a third less.
//! - A message that is one list of numbers and nothing else is that block alone, without a length
//!   before it: whoever has the list has the message.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

mod decode;
mod encode;
mod error;
mod reader;
mod writer;

pub use decode::Decode;
pub use encode::Encode;
pub use error::{Error, Problem};
pub use reader::Reader;
pub use writer::Writer;

/// Which of the two encodings a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Form {
    /// Fixed-width integers and aligned blocks. For calls that stay in the process.
    #[default]
    Local,
    /// As wRPC has it. For everything that leaves the process.
    Wrpc,
}

/// The deepest nesting of values that a [`Reader`] follows. A WIT type has a fixed depth, so only a
/// hostile or broken peer meets it.
pub const MAX_DEPTH: u16 = 100;

/// What the long blocks of the local form are aligned to, in bytes from the start of the message.
const BLOCK_ALIGN: usize = 32;

/// From how many bytes on a block is aligned.
const ALIGNED_FROM: usize = 2048;

/// The most that comes before the bytes of a string or list: its length, and what is skipped.
pub const BLOCK_OVERHEAD: usize = 5 + BLOCK_ALIGN - 1;

/// Room that a string or list of so many bytes takes, what comes before it included.
#[inline]
const fn room(bytes: usize) -> usize {
    if bytes < ALIGNED_FROM { bytes + 5 } else { bytes + BLOCK_OVERHEAD }
}

/// What is skipped before a block: compared and copied as a whole.
const PADDING: [u8; BLOCK_ALIGN] = [0; BLOCK_ALIGN];

/// The bytes to skip at `offset` before a block of `length` bytes.
#[inline]
const fn padding(form: Form, offset: usize, length: usize) -> usize {
    match form {
        Form::Local if length >= ALIGNED_FROM => offset.wrapping_neg() % BLOCK_ALIGN,
        Form::Local | Form::Wrpc => 0,
    }
}

/// Encodes `value` as a message of its own.
pub fn to_vec<T: Encode + ?Sized>(value: &T, form: Form) -> Vec<u8> {
    let mut writer = Writer::new(form);
    value.encode_message(&mut writer);
    writer.into_vec()
}

/// Decodes a message that holds one value and nothing after it.
///
/// # Errors
///
/// [`Error`] when the bytes are not such a value, or go on after it.
pub fn from_slice<'a, T: Decode<'a>>(bytes: &'a [u8], form: Form) -> Result<T, Error> {
    let mut reader = Reader::new(bytes, form);
    let value = T::decode_message(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list after a string, with so many elements.
    fn list(elements: u32) -> (&'static str, Vec<u32>) {
        ("before", (0..elements).collect())
    }

    #[test]
    fn a_long_block_is_aligned_and_a_short_one_is_not() {
        for (elements, begins) in [(127, 8), (511, 9), (512, 32), (1000, 32)] {
            let value = list(elements);
            let message = to_vec(&value, Form::Local);
            assert_eq!(message.len(), begins + 4 * elements as usize);
            assert_eq!(from_slice::<(&str, Vec<u32>)>(&message, Form::Local), Ok(value));
        }
        let bytes = to_vec(&("before", vec![7_u8; 2048]), Form::Local);
        assert_eq!(bytes.len(), 32 + 2048);
        let text = "x".repeat(2048);
        let message = to_vec(&("before", text.as_str()), Form::Local);
        assert_eq!(message.len(), 32 + 2048);
        assert_eq!(from_slice(&message, Form::Local), Ok(("before", text.as_str())));
    }

    #[test]
    fn what_is_skipped_before_a_block_has_to_be_zero() {
        let mut message = to_vec(&list(512), Form::Local);
        message[31] = 1;
        let error = from_slice::<(&str, Vec<u32>)>(&message, Form::Local).unwrap_err();
        assert_eq!(error, Error { offset: 9, problem: Problem::BadPadding });
        message.truncate(20);
        let error = from_slice::<(&str, Vec<u32>)>(&message, Form::Local).unwrap_err();
        assert!(matches!(error.problem, Problem::ListTooLong { .. }), "{error}");
    }

    #[test]
    fn a_list_of_numbers_alone_is_its_elements() {
        assert_eq!(to_vec(&[1_u16, 2].as_slice(), Form::Local), [1, 0, 2, 0]);
        assert_eq!(to_vec(&(vec![1_u16, 2],), Form::Local), [1, 0, 2, 0]);
        assert_eq!(to_vec(&vec![1_u16, 2], Form::Wrpc), [2, 1, 2]);
        assert_eq!(to_vec(&bytes::Bytes::from_static(b"ab"), Form::Local), *b"ab");
        assert_eq!(from_slice(b"ab", Form::Local), Ok((b"ab".as_slice(),)));
        assert_eq!(from_slice(&[], Form::Local), Ok(Vec::<f64>::new()));
        assert_eq!(from_slice(&[255, 1], Form::Local), Ok(vec![-1_i8, 1]));
        let odd = from_slice::<Vec<u16>>(&[1, 0, 2], Form::Local).unwrap_err();
        assert_eq!(odd.problem, Problem::TrailingBytes(1));
    }

    #[test]
    fn other_lists_alone_have_their_length() {
        assert_eq!(to_vec(&vec![true], Form::Local), [1, 1]);
        assert_eq!(to_vec(&vec!["a"], Form::Local), [1, 1, b'a']);
        assert_eq!(to_vec(&vec![vec![1_u8]], Form::Local), [1, 1, 1]);
        assert_eq!(to_vec(&(vec![1_u8], 2_u8), Form::Local), [1, 1, 2]);
    }

    #[test]
    fn a_hint_makes_room_for_all_of_a_message() {
        for bytes in [0, 1, 100, 2047, 2048, 4000, 1 << 20] {
            let value = Ok::<_, String>(Some(vec![7_u8; bytes]));
            let mut writer = Writer::with_capacity(Form::Local, value.size_hint());
            let capacity = writer.capacity();
            value.encode_message(&mut writer);
            assert_eq!(writer.capacity(), capacity, "{bytes} bytes");
        }
    }

    #[test]
    fn nothing_is_aligned_in_what_leaves_the_process() {
        let message = to_vec(&("before", vec![7_u8; 2048]), Form::Wrpc);
        assert_eq!(message.len(), 7 + 2 + 2048);
    }

    #[test]
    fn lists_of_every_number_come_back() {
        fn back<T>(list: Vec<T>)
        where
            T: Encode + for<'a> Decode<'a> + PartialEq + std::fmt::Debug + Clone,
        {
            for form in [Form::Local, Form::Wrpc] {
                let message = to_vec(&list, form);
                assert_eq!(from_slice(&message, form), Ok(list.clone()));
                let message = to_vec(&(1_u8, &list), form);
                assert_eq!(from_slice(&message, form), Ok((1_u8, list.clone())));
            }
        }
        back::<u8>((0..=255).cycle().take(700).collect());
        back::<i8>((-128..=127).cycle().take(700).collect());
        back::<u16>((0..700).map(|at| at * 93).collect());
        back::<i16>((0..700).map(|at| at * 46 - 16_000).collect());
        back::<u32>((0..700).map(|at| at * 6_000_000).collect());
        back::<i32>((0..700).map(|at| at * 3_000_000 - 1_000_000_000).collect());
        back::<u64>((0..700).map(|at| at << 53).collect());
        back::<i64>((0..700).map(|at| (at << 53) - 7).collect());
        back::<f32>((0..700).map(|at| at as f32 / 7.0).collect());
        back::<f64>((0..700).map(|at| f64::from(at) / 7.0).collect());
    }
}
