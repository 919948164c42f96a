//! What can be wrong with a message.

use std::fmt;

/// A message that is not a value of the expected type: what is wrong, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed value at byte {offset}: {problem}")]
pub struct Error {
    /// Bytes from the start of the message to the fault.
    pub offset: usize,
    /// The fault.
    pub problem: Problem,
}

/// The ways in which a message can be malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The message ends inside a value.
    Truncated {
        /// Bytes the value needs.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A LEB128 integer has more bytes or bits than its type.
    IntegerTooLong,
    /// A byte that must be `0` or `1` is neither.
    NotABool(u8),
    /// A discriminant names a case that the type does not have.
    NoSuchCase {
        /// The discriminant read.
        case: u32,
        /// The number of cases of the type.
        cases: u32,
    },
    /// A string is not UTF-8.
    NotUtf8,
    /// A char is not a Unicode scalar value.
    NotAChar,
    /// Bits are set in a flags value that name no flag.
    UnknownFlags,
    /// A list announces more elements than bytes are left.
    ListTooLong {
        /// The elements announced.
        elements: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// The bytes skipped before a block are not zero.
    BadPadding,
    /// A resource handle has another length than eight bytes.
    BadHandle,
    /// A resource handle names no live resource of its type.
    DeadHandle,
    /// Values nest deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    TooDeep,
    /// The message goes on after its value.
    TrailingBytes(usize),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { needed, left } => {
                write!(f, "{needed} bytes needed, {left} left")
            }
            Self::IntegerTooLong => f.write_str("an integer has more bits than its type"),
            Self::NotABool(byte) => write!(f, "expected 0 or 1, found {byte}"),
            Self::NoSuchCase { case, cases } => {
                write!(f, "case {case} of a type with {cases} cases")
            }
            Self::NotUtf8 => f.write_str("a string is not UTF-8"),
            Self::NotAChar => f.write_str("a char is not a Unicode scalar value"),
            Self::UnknownFlags => f.write_str("bits are set that name no flag"),
            Self::ListTooLong { elements, left } => {
                write!(f, "a list of {elements} elements, but only {left} bytes are left")
            }
            Self::BadPadding => f.write_str("the bytes before a block are not zero"),
            Self::BadHandle => f.write_str("a resource handle is not eight bytes long"),
            Self::DeadHandle => f.write_str("a resource handle names no live resource of its type"),
            Self::TooDeep => f.write_str("values nest too deeply"),
            Self::TrailingBytes(bytes) => write!(f, "{bytes} bytes follow the value"),
        }
    }
}
