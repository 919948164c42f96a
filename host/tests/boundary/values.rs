//! The wire encoding of the runtime's dynamic values, written a second time and simply.

use backplane_wire::{Form, Writer};
use wasmtime::component::Val;

use crate::generate::Ty;

/// The message of a function's parameters, or of its result: a list of numbers alone is its elements.
pub fn message(values: &[(&Ty, &Val)]) -> Vec<u8> {
    let mut out = Writer::new(Form::Local);
    match values {
        [(Ty::List(ty), Val::List(values))] if is_number(ty) => out.raw(&elements(ty, values)),
        values => values.iter().for_each(|(ty, value)| encode(ty, value, &mut out)),
    }
    out.into_vec()
}

pub fn is_number(ty: &Ty) -> bool {
    matches!(
        ty,
        Ty::S8
            | Ty::U8
            | Ty::S16
            | Ty::U16
            | Ty::S32
            | Ty::U32
            | Ty::S64
            | Ty::U64
            | Ty::F32
            | Ty::F64
    )
}

pub fn elements(ty: &Ty, values: &[Val]) -> Vec<u8> {
    let mut out = Writer::new(Form::Local);
    values.iter().for_each(|value| encode(ty, value, &mut out));
    out.into_vec()
}

fn encode(ty: &Ty, value: &Val, out: &mut Writer) {
    match (ty, value) {
        (Ty::Bool, Val::Bool(v)) => out.bool(*v),
        (Ty::S8, Val::S8(v)) => out.s8(*v),
        (Ty::U8, Val::U8(v)) => out.u8(*v),
        (Ty::S16, Val::S16(v)) => out.s16(*v),
        (Ty::U16, Val::U16(v)) => out.u16(*v),
        (Ty::S32, Val::S32(v)) => out.s32(*v),
        (Ty::U32, Val::U32(v)) => out.u32(*v),
        (Ty::S64, Val::S64(v)) => out.s64(*v),
        (Ty::U64, Val::U64(v)) => out.u64(*v),
        (Ty::F32, Val::Float32(v)) => out.f32(*v),
        (Ty::F64, Val::Float64(v)) => out.f64(*v),
        (Ty::Char, Val::Char(v)) => out.char(*v),
        (Ty::String, Val::String(v)) => out.string(v),
        (Ty::List(ty), Val::List(values)) => {
            out.length(values.len());
            if is_number(ty) {
                return out.block(&elements(ty, values));
            }
            values.iter().for_each(|value| encode(ty, value, out));
        }
        (Ty::Record(types), Val::Record(fields)) => {
            types.iter().zip(fields).for_each(|(ty, (_, value))| encode(ty, value, out));
        }
        (Ty::Tuple(types), Val::Tuple(values)) => {
            types.iter().zip(values).for_each(|(ty, value)| encode(ty, value, out));
        }
        (Ty::Variant(cases), Val::Variant(name, payload)) => {
            let case: usize = name[1..].parse().unwrap();
            out.discriminant(case as u32);
            if let Some(payload) = payload {
                encode(cases[case].as_ref().unwrap(), payload, out);
            }
        }
        (Ty::Enum(_), Val::Enum(name)) => out.discriminant(name[1..].parse().unwrap()),
        (Ty::Option(ty), Val::Option(value)) => {
            out.bool(value.is_some());
            if let Some(value) = value {
                encode(ty, value, out);
            }
        }
        (Ty::Result(ok, err), Val::Result(value)) => {
            out.bool(value.is_err());
            let (ty, value) = match value {
                Ok(value) => (ok, value),
                Err(value) => (err, value),
            };
            if let (Some(ty), Some(value)) = (ty, value) {
                encode(ty, value, out);
            }
        }
        (Ty::Flags(count), Val::Flags(set)) => {
            let mut bytes = vec![0_u8; count.div_ceil(8)];
            for name in set {
                let bit: usize = name[1..].parse().unwrap();
                bytes[bit / 8] |= 1 << (bit % 8);
            }
            out.raw(&bytes);
        }
        (ty, value) => panic!("{value:?} is not of type {ty:?}"),
    }
}
