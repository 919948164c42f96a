//! How much memory a value takes in a guest, by the canonical ABI.

use super::types::Type;

/// A type's place in memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    size: usize,
    align: usize,
}

/// Bytes of a record with these fields. More than there are numbers for are as many as there are.
pub(super) fn of_record<'a>(fields: impl Iterator<Item = &'a Type>) -> usize {
    record(fields).size
}

fn record<'a>(fields: impl Iterator<Item = &'a Type>) -> Layout {
    let mut record = Layout { size: 0, align: 1 };
    for field in fields {
        let field = layout(field);
        record.align = record.align.max(field.align);
        record.size = after(record.size, field.align).saturating_add(field.size);
    }
    Layout { size: after(record.size, record.align), ..record }
}

/// The first multiple of an alignment from a place on.
fn after(place: usize, align: usize) -> usize {
    place.checked_next_multiple_of(align).unwrap_or(usize::MAX)
}

fn variant<'a>(cases: usize, payloads: impl Iterator<Item = &'a Type>) -> Layout {
    let discriminant = match cases {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    };
    let (mut size, mut align) = (0, 1);
    for payload in payloads.map(layout) {
        size = size.max(payload.size);
        align = align.max(payload.align);
    }
    let end = after(discriminant, align).saturating_add(size);
    let align = align.max(discriminant);
    Layout { size: after(end, align), align }
}

fn layout(ty: &Type) -> Layout {
    let number = |size| Layout { size, align: size };
    match ty {
        Type::Bool | Type::S8 | Type::U8 => number(1),
        Type::S16 | Type::U16 => number(2),
        Type::S32
        | Type::U32
        | Type::F32
        | Type::Char
        | Type::Own(_)
        | Type::Borrow(_)
        | Type::Future(_)
        | Type::Stream(_)
        | Type::ErrorContext => number(4),
        Type::S64 | Type::U64 | Type::F64 => number(8),
        Type::String | Type::List(_) | Type::Map(..) => Layout { size: 8, align: 4 },
        Type::FixedLengthList(ty, length) => {
            let Layout { size, align } = layout(ty);
            let length = usize::try_from(*length).unwrap_or(usize::MAX);
            Layout { size: size.saturating_mul(length), align }
        }
        Type::Record(fields) => record(fields.iter().map(|(_, ty)| ty)),
        Type::Tuple(types) => record(types.iter()),
        Type::Variant(cases) => {
            variant(cases.len(), cases.iter().filter_map(|(_, ty)| ty.as_ref()))
        }
        Type::Enum(names) => variant(names.len(), [].into_iter()),
        Type::Option(ty) => variant(2, [&**ty].into_iter()),
        Type::Result(ok, err) => variant(2, ok.iter().chain(err).map(|ty| &**ty)),
        Type::Flags(names) => match names.len() {
            0..=8 => number(1),
            9..=16 => number(2),
            names => Layout { size: 4 * names.div_ceil(32), align: 4 },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_aligned_and_so_is_the_end() {
        assert_eq!(of_record([Type::U8, Type::U32, Type::U16].iter()), 12);
        assert_eq!(of_record([Type::U8, Type::U64, Type::String].iter()), 24);
        assert_eq!(of_record([].iter()), 0);
    }

    #[test]
    fn a_variant_has_its_discriminant_and_its_widest_case() {
        let names = |count| vec![String::new(); count];
        assert_eq!(of_record([Type::Enum(names(256))].iter()), 1);
        assert_eq!(of_record([Type::Enum(names(257))].iter()), 2);
        assert_eq!(of_record([Type::Option(Box::new(Type::U64))].iter()), 16);
        assert_eq!(of_record([Type::Result(Some(Box::new(Type::String)), None)].iter()), 12);
        assert_eq!(of_record([Type::Flags(names(33))].iter()), 8);
    }
}
