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
//! [`Form::Local`] differs in one rule: integers wider than a byte are little-endian and of their
//! full width, so that a `list<u32>` is copied rather than computed. `docs/performance.md` has the
//! measurement that asked for it.

#![forbid(unsafe_code)]

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

/// How integers wider than a byte are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Form {
    /// Little-endian, of full width. For calls that stay in the process.
    #[default]
    Local,
    /// LEB128, as wRPC has it. For everything that leaves the process.
    Wrpc,
}

/// The deepest nesting of values that a [`Reader`] follows. A WIT type has a fixed depth, so only a
/// hostile or broken peer meets it.
pub const MAX_DEPTH: u16 = 100;

/// Encodes `value` as a message of its own.
pub fn to_vec<T: Encode + ?Sized>(value: &T, form: Form) -> Vec<u8> {
    let mut writer = Writer::new(form);
    value.encode(&mut writer);
    writer.into_vec()
}

/// Decodes a message that holds one value and nothing after it.
///
/// # Errors
///
/// [`Error`] when the bytes are not such a value, or go on after it.
pub fn from_slice<'a, T: Decode<'a>>(bytes: &'a [u8], form: Form) -> Result<T, Error> {
    let mut reader = Reader::new(bytes, form);
    let value = T::decode(&mut reader)?;
    reader.finish()?;
    Ok(value)
}
