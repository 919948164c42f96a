//! From the form in which values cross inside the process to wRPC's and back, by their types.
//!
//! Every byte from outside is checked on the way; what comes in is as safe to lower as what the boundary wrote
//! itself.

use backplane_wire::{Error, Form, Reader, Writer};

use crate::boundary::types::Type;

/// A local message of these values, in wRPC's form.
pub(super) fn to_wrpc(message: &[u8], types: &[&Type]) -> Result<Vec<u8>, Error> {
    let mut reader = Reader::new(message, Form::Local);
    let mut writer = Writer::with_capacity(Form::Wrpc, message.len());
    match lone(types) {
        // The message is the list's elements alone.
        Some((element, width)) => {
            let length = message.len().checked_div(width).unwrap_or_default();
            elements(element, length, &mut reader, &mut writer, true)?;
        }
        None => all(types, &mut reader, &mut writer)?,
    }
    reader.finish()?;
    Ok(writer.into_vec())
}

/// The local message of such values in wRPC's form.
pub(super) fn to_local(message: &[u8], types: &[&Type]) -> Result<Vec<u8>, Error> {
    let mut reader = Reader::new(message, Form::Wrpc);
    let mut writer = Writer::with_capacity(Form::Local, message.len());
    match lone(types) {
        Some((element, _)) => {
            let length = reader.length()?;
            elements(element, length, &mut reader, &mut writer, false)?;
        }
        None => all(types, &mut reader, &mut writer)?,
    }
    reader.finish()?;
    Ok(writer.into_vec())
}

/// The numbers of the only list that there is, and their width.
fn lone<'a>(types: &[&'a Type]) -> Option<(&'a Type, usize)> {
    match types {
        [Type::List(element)] => element.width().map(|width| (&**element, width.into())),
        _ => None,
    }
}

fn all(types: &[&Type], reader: &mut Reader<'_>, writer: &mut Writer) -> Result<(), Error> {
    types.iter().try_for_each(|ty| value(ty, reader, writer))
}

/// The elements of a list, after its length where it is to be written.
fn elements(
    ty: &Type,
    length: usize,
    reader: &mut Reader<'_>,
    writer: &mut Writer,
    with_length: bool,
) -> Result<(), Error> {
    if with_length {
        writer.length(length);
    }
    match ty {
        Type::U8 | Type::S8 => writer.block(reader.block(length)?),
        Type::U16 => writer.u16s(&reader.u16s(length)?),
        Type::S16 => writer.s16s(&reader.s16s(length)?),
        Type::U32 => writer.u32s(&reader.u32s(length)?),
        Type::S32 => writer.s32s(&reader.s32s(length)?),
        Type::U64 => writer.u64s(&reader.u64s(length)?),
        Type::S64 => writer.s64s(&reader.s64s(length)?),
        Type::F32 => writer.f32s(&reader.f32s(length)?),
        Type::F64 => writer.f64s(&reader.f64s(length)?),
        ty => {
            for _ in 0..length {
                value(ty, reader, writer)?;
            }
        }
    }
    Ok(())
}

fn value(ty: &Type, reader: &mut Reader<'_>, writer: &mut Writer) -> Result<(), Error> {
    match ty {
        Type::Bool => writer.bool(reader.bool()?),
        Type::S8 => writer.s8(reader.s8()?),
        Type::U8 => writer.u8(reader.u8()?),
        Type::S16 => writer.s16(reader.s16()?),
        Type::U16 => writer.u16(reader.u16()?),
        Type::S32 => writer.s32(reader.s32()?),
        Type::U32 => writer.u32(reader.u32()?),
        Type::S64 => writer.s64(reader.s64()?),
        Type::U64 => writer.u64(reader.u64()?),
        Type::F32 => writer.f32(reader.f32()?),
        Type::F64 => writer.f64(reader.f64()?),
        Type::Char => writer.char(reader.char()?),
        Type::String => writer.string(reader.string()?),
        Type::List(element) => {
            let length = reader.length()?;
            elements(element, length, reader, writer, true)?;
        }
        Type::Record(fields) => {
            return fields.iter().try_for_each(|(_, ty)| value(ty, reader, writer));
        }
        Type::Tuple(types) => return types.iter().try_for_each(|ty| value(ty, reader, writer)),
        Type::Variant(cases) => {
            let count = u32::try_from(cases.len()).unwrap_or(u32::MAX);
            let case = reader.discriminant(count)?;
            writer.discriminant(case);
            if let Some((_, Some(payload))) = cases.get(case as usize) {
                value(payload, reader, writer)?;
            }
        }
        Type::Enum(names) => {
            let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
            writer.discriminant(reader.discriminant(count)?);
        }
        Type::Option(payload) => {
            let is_some = reader.bool()?;
            writer.bool(is_some);
            if is_some {
                value(payload, reader, writer)?;
            }
        }
        Type::Result(ok, err) => {
            let is_err = reader.bool()?;
            writer.bool(is_err);
            if let Some(payload) = if is_err { err } else { ok } {
                value(payload, reader, writer)?;
            }
        }
        Type::Flags(names) => flags(names.len(), reader, writer)?,
        // Refused when the server's WIT was read.
        Type::Map(..)
        | Type::FixedLengthList(..)
        | Type::Own(_)
        | Type::Borrow(_)
        | Type::Future(_)
        | Type::Stream(_)
        | Type::ErrorContext => return Err(reader.error(backplane_wire::Problem::BadHandle)),
    }
    Ok(())
}

/// The bytes of flags, in which no bit is set beyond the last.
fn flags(count: usize, reader: &mut Reader<'_>, writer: &mut Writer) -> Result<(), Error> {
    let bytes = reader.raw(count.div_ceil(8))?;
    let beyond = match (bytes.last(), count % 8) {
        (Some(last), used @ 1..) => last >> used,
        _ => 0,
    };
    if beyond != 0 {
        return Err(reader.error(backplane_wire::Problem::UnknownFlags));
    }
    writer.raw(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use backplane_wire::{Encode, to_vec};

    use super::*;

    /// The two forms of a message turn into each other.
    fn there_and_back<T: Encode>(types: &[Type], value: &T) {
        let types: Vec<_> = types.iter().collect();
        let (local, wrpc) = (to_vec(value, Form::Local), to_vec(value, Form::Wrpc));
        assert_eq!(to_wrpc(&local, &types), Ok(wrpc.clone()), "{types:?}");
        assert_eq!(to_local(&wrpc, &types), Ok(local), "{types:?}");
        // A message that ends early or goes on is none.
        if let [start @ .., _] = wrpc.as_slice() {
            assert!(to_local(start, &types).is_err(), "{types:?}");
        }
        assert!(to_local(&[wrpc.as_slice(), &[0]].concat(), &types).is_err(), "{types:?}");
    }

    fn list(ty: Type) -> Type {
        Type::List(Box::new(ty))
    }

    #[test]
    fn values_of_every_type_go_there_and_back() {
        there_and_back(&[], &());
        there_and_back(&[Type::Bool, Type::Char], &(true, '\u{10348}'));
        there_and_back(&[Type::U16, Type::S16], &(60_000_u16, -300_i16));
        there_and_back(&[Type::U32, Type::S32], &(u32::MAX, i32::MIN));
        there_and_back(&[Type::U64, Type::S64], &(u64::MAX, i64::MIN));
        there_and_back(
            &[Type::F32, Type::F64, Type::U8, Type::S8],
            &(1.5_f32, -2.5_f64, 7_u8, -7_i8),
        );
        there_and_back(&[Type::String, Type::String], &("", "a".repeat(5000)));
        there_and_back(&[Type::Option(Box::new(Type::U16)), Type::U8], &(Some(500_u16), 1_u8));
        let result = Type::Result(None, Some(Box::new(Type::String)));
        there_and_back(std::slice::from_ref(&result), &(Ok::<(), String>(()),));
        there_and_back(&[result], &(Err::<(), _>("no".to_owned()),));
        there_and_back(&[Type::Tuple(vec![Type::U32, Type::String])], &((300_u32, "x"),));
        there_and_back(&[list(Type::String), list(Type::Bool)], &(vec!["a", "b"], vec![true]));
    }

    #[test]
    fn lists_of_numbers_alone_and_among_others() {
        let bytes: Vec<u8> = (0..5000_u32).map(|at| at as u8).collect();
        there_and_back(&[list(Type::U8)], &(bytes.clone(),));
        there_and_back(&[Type::String, list(Type::U8)], &("before", bytes));
        let numbers: Vec<u32> = (0..3000).map(|at| at * 1_000_003).collect();
        there_and_back(&[list(Type::U32)], &(numbers.clone(),));
        there_and_back(&[Type::U8, list(Type::U32)], &(1_u8, numbers));
        there_and_back(&[list(Type::F64)], &(vec![0.5_f64; 600],));
    }

    #[test]
    fn cases_and_flags_that_the_type_does_not_have_are_refused() {
        let names = |count: usize| (0..count).map(|at| at.to_string()).collect::<Vec<_>>();
        assert!(to_local(&[1], &[&Type::Enum(names(2))]).is_ok());
        assert!(to_local(&[2], &[&Type::Enum(names(2))]).is_err());
        assert_eq!(to_local(&[0xff, 1], &[&Type::Flags(names(9))]), Ok(vec![0xff, 1]));
        assert!(to_local(&[0xff, 2], &[&Type::Flags(names(9))]).is_err());
        // A length beyond the message is refused before anything is allocated for it.
        assert!(to_local(&[0xff, 0xff, 0xff, 0xff, 0x0f], &[&list(Type::U64)]).is_err());
    }
}
