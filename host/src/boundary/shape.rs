//! Where the handles and streams are in a value, found by reading it.
//!
//! Only functions whose result may hold one have a shape; for the others nothing is read
//! twice.

use backplane_wire::{Error, Reader};

use super::{
    io,
    kind::Kind,
    types::{ResourceName, Type},
};

/// What a value stands for besides its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found {
    /// An owned handle: the number of its resource type, and the handle.
    Own(u32, u64),
    /// A borrowed handle, likewise.
    Borrow(u32, u64),
    /// A stream or a future: what it is of, and its handle.
    Stream(Kind, u64),
    /// A stream of `wasi:io`: which, and its handle.
    Io(io::Kind, u64),
}

/// A type, reduced to what finding its owned handles takes.
#[derive(Debug)]
pub(super) enum Shape {
    Byte,
    Bytes2,
    Bytes4,
    Bytes8,
    Float4,
    Float8,
    Char,
    Text,
    /// A list of numbers of that width.
    Numbers(usize),
    Flags(usize),
    Own(u32),
    Borrow(u32),
    Stream(Kind),
    Io(io::Kind),
    List(Box<Shape>),
    Sequence(Vec<Shape>),
    Variant(Vec<Option<Shape>>),
    Option(Box<Shape>),
    Result(Option<Box<Shape>>, Option<Box<Shape>>),
}

impl Shape {
    /// The shape of `ty`. `number` gives a resource type's number at the provider; none where the
    /// provider does not have it, or the type cannot be carried.
    pub(super) fn of(ty: &Type, number: &dyn Fn(&ResourceName) -> Option<u32>) -> Option<Self> {
        let one = |ty: &Type| Self::of(ty, number);
        let boxed = |ty: &Type| one(ty).map(Box::new);
        let maybe = |ty: &Option<Box<Type>>| match ty {
            Some(ty) => boxed(ty).map(Some),
            None => Some(None),
        };
        Some(match ty {
            Type::Bool | Type::S8 | Type::U8 => Self::Byte,
            Type::S16 | Type::U16 => Self::Bytes2,
            Type::S32 | Type::U32 => Self::Bytes4,
            Type::S64 | Type::U64 => Self::Bytes8,
            Type::F32 => Self::Float4,
            Type::F64 => Self::Float8,
            Type::Char => Self::Char,
            Type::String => Self::Text,
            Type::Flags(names) => Self::Flags(names.len().div_ceil(8)),
            Type::Own(resource) => match resource.io() {
                Some(kind) => Self::Io(kind),
                None => Self::Own(number(resource)?),
            },
            Type::List(ty) => match &**ty {
                Type::U8 | Type::S8 => Self::Text,
                Type::U16 | Type::S16 => Self::Numbers(2),
                Type::U32 | Type::S32 | Type::F32 => Self::Numbers(4),
                Type::U64 | Type::S64 | Type::F64 => Self::Numbers(8),
                ty => Self::List(boxed(ty)?),
            },
            Type::Record(fields) => {
                Self::Sequence(fields.iter().map(|(_, ty)| one(ty)).collect::<Option<_>>()?)
            }
            Type::Tuple(types) => Self::Sequence(types.iter().map(one).collect::<Option<_>>()?),
            Type::Variant(cases) => Self::Variant(
                cases
                    .iter()
                    .map(|(_, ty)| match ty {
                        Some(ty) => one(ty).map(Some),
                        None => Some(None),
                    })
                    .collect::<Option<_>>()?,
            ),
            Type::Enum(names) => Self::Variant(names.iter().map(|_| None).collect()),
            Type::Option(ty) => Self::Option(boxed(ty)?),
            Type::Result(ok, err) => Self::Result(maybe(ok)?, maybe(err)?),
            Type::Stream(_) | Type::Future(_) => Self::Stream(Kind::of_type(ty)?),
            Type::Borrow(resource) => Self::Borrow(number(resource)?),
            Type::Map(..) | Type::FixedLengthList(..) | Type::ErrorContext => {
                return None;
            }
        })
    }

    /// The shape of several values that make one message.
    pub(super) fn of_all(
        types: &[&Type],
        number: &dyn Fn(&ResourceName) -> Option<u32>,
    ) -> Option<Self> {
        types.iter().map(|ty| Self::of(ty, number)).collect::<Option<_>>().map(Self::Sequence)
    }

    /// Reads a value and gives each owned handle and each stream, in order, to `found`.
    pub(super) fn handles(
        &self,
        reader: &mut Reader<'_>,
        found: &mut dyn FnMut(Found),
    ) -> Result<(), Error> {
        match self {
            Self::Byte => reader.u8().map(drop),
            Self::Bytes2 => reader.u16().map(drop),
            Self::Bytes4 => reader.u32().map(drop),
            Self::Bytes8 => reader.u64().map(drop),
            Self::Float4 => reader.f32().map(drop),
            Self::Float8 => reader.f64().map(drop),
            Self::Char => reader.char().map(drop),
            Self::Text => reader.byte_list().map(drop),
            Self::Numbers(width) => {
                let length = reader.length()?;
                reader.block(length.saturating_mul(*width)).map(drop)
            }
            Self::Flags(bytes) => reader.raw(*bytes).map(drop),
            Self::Own(number) => {
                found(Found::Own(*number, reader.handle()?));
                Ok(())
            }
            Self::Borrow(number) => {
                found(Found::Borrow(*number, reader.handle()?));
                Ok(())
            }
            Self::Stream(kind) => {
                found(Found::Stream(*kind, reader.handle()?));
                Ok(())
            }
            Self::Io(kind) => {
                found(Found::Io(*kind, reader.handle()?));
                Ok(())
            }
            Self::List(element) => {
                for _ in 0..reader.length()? {
                    element.handles(reader, found)?;
                }
                Ok(())
            }
            Self::Sequence(shapes) => shapes.iter().try_for_each(|s| s.handles(reader, found)),
            Self::Variant(cases) => {
                let count = u32::try_from(cases.len()).unwrap_or(u32::MAX);
                let case = reader.discriminant(count)?;
                match cases.get(case as usize) {
                    Some(Some(payload)) => payload.handles(reader, found),
                    Some(None) | None => Ok(()),
                }
            }
            Self::Option(payload) => match reader.bool()? {
                true => payload.handles(reader, found),
                false => Ok(()),
            },
            Self::Result(ok, err) => {
                let payload = if reader.bool()? { err } else { ok };
                match payload {
                    Some(payload) => payload.handles(reader, found),
                    None => Ok(()),
                }
            }
        }
    }
}
