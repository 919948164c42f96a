//! How large a type is in a guest's memory, and how aligned: the canonical ABI for 32-bit memories.
//!
//! The runtime has the same in `ComponentTypes::canonical_abi`. That is not inlined, and each field of
//! each record asks: it was the largest single cost of a call with a record.

use wasmtime::component::__internal::{CanonicalAbiInfo, ComponentTypes, InterfaceType};

/// A type's place in memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) size: usize,
    /// A power of two.
    pub(super) align: usize,
}

impl Layout {
    #[inline(always)]
    pub(super) fn of(types: &ComponentTypes, ty: InterfaceType) -> Self {
        match ty {
            InterfaceType::Bool | InterfaceType::U8 | InterfaceType::S8 => Self::scalar(1),
            InterfaceType::U16 | InterfaceType::S16 => Self::scalar(2),
            InterfaceType::U32
            | InterfaceType::S32
            | InterfaceType::Float32
            | InterfaceType::Char
            | InterfaceType::Own(_)
            | InterfaceType::Borrow(_)
            | InterfaceType::Future(_)
            | InterfaceType::Stream(_)
            | InterfaceType::ErrorContext(_) => Self::scalar(4),
            InterfaceType::U64 | InterfaceType::S64 | InterfaceType::Float64 => Self::scalar(8),
            InterfaceType::String | InterfaceType::List(_) | InterfaceType::Map(_) => {
                Self { size: 8, align: 4 }
            }
            InterfaceType::Record(record) => Self::from(&types[record].abi),
            InterfaceType::Tuple(tuple) => Self::from(&types[tuple].abi),
            InterfaceType::Variant(_)
            | InterfaceType::Enum(_)
            | InterfaceType::Option(_)
            | InterfaceType::Result(_)
            | InterfaceType::Flags(_)
            | InterfaceType::FixedLengthList(_) => Self::from(types.canonical_abi(&ty)),
        }
    }

    /// That of a number or another scalar.
    #[inline]
    pub(super) const fn scalar(size: usize) -> Self {
        Self { size, align: size }
    }

    /// Where a field of this layout stands that comes next in a record; `next` moves behind it.
    #[inline]
    pub(super) fn place(self, next: &mut usize) -> usize {
        let offset = (*next + self.align - 1) & !(self.align - 1);
        *next = offset + self.size;
        offset
    }
}

impl From<&CanonicalAbiInfo> for Layout {
    #[inline]
    fn from(abi: &CanonicalAbiInfo) -> Self {
        Self { size: abi.size32 as usize, align: (abi.align32 as usize).max(1) }
    }
}

/// How many flat core values a type has; none where they are too many to be passed flat.
#[inline]
pub(super) fn flat_count(types: &ComponentTypes, ty: InterfaceType) -> Option<usize> {
    match ty {
        InterfaceType::Bool
        | InterfaceType::U8
        | InterfaceType::S8
        | InterfaceType::U16
        | InterfaceType::S16
        | InterfaceType::U32
        | InterfaceType::S32
        | InterfaceType::U64
        | InterfaceType::S64
        | InterfaceType::Float32
        | InterfaceType::Float64
        | InterfaceType::Char
        | InterfaceType::Own(_)
        | InterfaceType::Borrow(_) => Some(1),
        InterfaceType::String | InterfaceType::List(_) => Some(2),
        ty => types.canonical_abi(&ty).flat_count.map(usize::from),
    }
}

/// Whether a list of the type lies in memory as its block does in a local message: numbers are
/// little-endian in both.
#[inline]
pub(super) fn is_number(ty: InterfaceType) -> bool {
    matches!(
        ty,
        InterfaceType::U8
            | InterfaceType::S8
            | InterfaceType::U16
            | InterfaceType::S16
            | InterfaceType::U32
            | InterfaceType::S32
            | InterfaceType::U64
            | InterfaceType::S64
            | InterfaceType::Float32
            | InterfaceType::Float64
    )
}

/// The numbers of a list that are all of a function's parameters, or all of its results.
#[inline]
pub(super) fn lone_numbers(types: &ComponentTypes, ty: InterfaceType) -> Option<InterfaceType> {
    let InterfaceType::Tuple(tuple) = ty else { return None };
    let [InterfaceType::List(list)] = *types[tuple].types else { return None };
    let element = types[list].element;
    is_number(element).then_some(element)
}
