//! What streams and futures are of, as far as it matters to how they cross.

use super::{size, types::Type};

/// What a stream or a future is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `u8`, which the runtime lends without a copy.
    Byte,
    /// Other numbers, of that width.
    Wide1,
    Wide2,
    Wide4,
    Wide8,
    /// Other values, of so many bytes in memory.
    Values(u32),
    /// A future of a value.
    Future,
    /// A future of nothing.
    Signal,
}

impl Kind {
    /// That of a number of so many bytes.
    pub(super) fn of(width: u8, is_byte: bool) -> Option<Self> {
        Some(match (width, is_byte) {
            (1, true) => Self::Byte,
            (1, false) => Self::Wide1,
            (2, _) => Self::Wide2,
            (4, _) => Self::Wide4,
            (8, _) => Self::Wide8,
            _ => return None,
        })
    }

    /// That of a stream or a future of this type, if it is one that the host carries.
    pub(super) fn of_type(ty: &Type) -> Option<Self> {
        if !ty.is_carried() {
            return None;
        }
        match ty {
            Type::Stream(Some(element)) => match element.width() {
                Some(width) => Self::of(width, **element == Type::U8),
                None => {
                    let size = size::of_record([&**element].into_iter());
                    u32::try_from(size).ok().map(Self::Values)
                }
            },
            Type::Future(Some(_)) => Some(Self::Future),
            Type::Future(None) => Some(Self::Signal),
            _ => None,
        }
    }
}
