//! Every value arrives as it was sent, in both forms of the encoding.

use std::fmt::Debug;

use backplane_sdk::{
    Bytes,
    abi::CallContext,
    wire::{self, Decode, Encode, Form},
};
use probe::bindings::probe::types::echo::{
    Nested, Nine, Point, Shape, ShapeKind, Ten, ThirtyTwo, Three, Twenty,
};

use crate::support::{Begun, Bound};

#[track_caller]
fn echoes<T>(binding: &Bound<'_>, function: &str, value: T)
where
    T: Encode + for<'a> Decode<'a> + PartialEq + Debug,
{
    for form in [Form::Local, Form::Wrpc] {
        let function = format!("types/echo@1.0.0#{function}");
        let answer = binding.call_bytes(&function, wire::to_vec(&value, form), form).unwrap();
        assert_eq!(wire::from_slice::<T>(&answer, form).unwrap(), value, "{function} {form:?}");
    }
}

fn ten(text: &str) -> Ten {
    Ten {
        a: 1,
        b: 300,
        c: 70_000,
        d: u64::MAX,
        e: 1.5,
        f: -2.25,
        g: true,
        h: 'ß',
        i: text.to_owned(),
        j: Bytes::from(vec![9; 2000]),
    }
}

fn point(x: i32) -> Point {
    Point { x, y: -x }
}

#[test]
fn scalars_and_strings_are_echoed() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    echoes(&binding, "nothing", ());
    echoes(&binding, "echo-bool", true);
    echoes(&binding, "echo-u8", u8::MAX);
    echoes(&binding, "echo-u16", u16::MAX);
    echoes(&binding, "echo-u32", u32::MAX);
    echoes(&binding, "echo-u64", u64::MAX);
    echoes(&binding, "echo-s8", i8::MIN);
    echoes(&binding, "echo-s16", i16::MIN);
    echoes(&binding, "echo-s32", i32::MIN);
    echoes(&binding, "echo-s64", i64::MIN);
    echoes(&binding, "echo-f32", -0.5_f32);
    echoes(&binding, "echo-f64", f64::MIN_POSITIVE);
    echoes(&binding, "echo-char", '🦀');
    echoes(&binding, "echo-string", "a string, ü".to_owned());
    echoes(&binding, "echo-name", String::new());
    echoes(&binding, "echo-names", vec!["a".to_owned(), "b".to_owned()]);
}

#[test]
fn lists_are_echoed() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    echoes(&binding, "list-bool", vec![true, false]);
    for size in [0, 1, 1023, 1024, 100_000] {
        echoes(&binding, "list-u8", vec![size as u8; size]);
    }
    echoes(&binding, "list-u16", vec![0, u16::MAX]);
    echoes(&binding, "list-u32", (0..1000).collect::<Vec<u32>>());
    echoes(&binding, "list-u64", vec![0, u64::MAX]);
    echoes(&binding, "list-s8", vec![i8::MIN, i8::MAX]);
    echoes(&binding, "list-s16", vec![i16::MIN, i16::MAX]);
    echoes(&binding, "list-s32", vec![i32::MIN, i32::MAX]);
    echoes(&binding, "list-s64", vec![i64::MIN, i64::MAX]);
    echoes(&binding, "list-f32", vec![0.0_f32, 1.0]);
    echoes(&binding, "list-f64", vec![0.0_f64, 1.0]);
    echoes(&binding, "list-char", vec!['a', 'é', '€', '🦀']);
    echoes(&binding, "list-string", vec!["a".to_owned(), String::new()]);
    echoes(&binding, "list-bytes", vec![Bytes::from_static(b"ab"), vec![1; 4000].into()]);
    echoes(&binding, "list-lists", vec![vec![vec![1_u16], vec![]], vec![]]);
    echoes(&binding, "list-point", vec![point(1), point(2)]);
    echoes(&binding, "list-ten", vec![ten("a"), ten("b")]);
    echoes(&binding, "list-shape", vec![Shape::Empty, Shape::Label("x".to_owned())]);
    echoes(&binding, "list-kind", vec![ShapeKind::Type, ShapeKind::Round]);
    echoes(&binding, "list-flags", vec![ThirtyTwo::all(), ThirtyTwo::empty()]);
    echoes(&binding, "list-options", vec![None, Some(u64::MAX)]);
}

#[test]
fn compound_values_are_echoed() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    echoes(&binding, "echo-point", point(7));
    echoes(&binding, "echo-ten", ten("ten"));
    let nested = Nested {
        ten: ten("nested"),
        points: vec![point(1), point(2)],
        maybe: Some(point(3)),
        pair: ("pair".to_owned(), point(4)),
        outcome: Err("no".to_owned()),
    };
    echoes(&binding, "echo-nested", nested);
    let shapes = [
        Shape::Empty,
        Shape::Dot(point(1)),
        Shape::Label("label".to_owned()),
        Shape::Many(vec![ShapeKind::Round, ShapeKind::Square]),
        Shape::Wide(u64::MAX),
        Shape::Narrow(1),
        Shape::Real(0.5),
    ];
    for shape in shapes {
        echoes(&binding, "echo-shape", shape.clone());
        echoes(&binding, "echo-result-error", Err::<(), _>(shape));
    }
    for kind in [ShapeKind::Round, ShapeKind::Square, ShapeKind::Type] {
        echoes(&binding, "echo-kind", kind);
    }
    echoes(&binding, "echo-tuple", (1_u8, "two".to_owned(), 3.0_f64));
    let p = point;
    echoes(&binding, "echo-grid", (p(1), p(2), p(3), p(4), p(5), p(6), p(7), p(8), p(9)));
    echoes(&binding, "echo-option", Some("some".to_owned()));
    echoes(&binding, "echo-option", None::<String>);
    echoes(&binding, "echo-option-bytes", Some(Bytes::from(vec![3; 5000])));
    echoes(&binding, "echo-option-option", Some(None::<u32>));
    echoes(&binding, "echo-option-option", Some(Some(5_u32)));
    echoes(&binding, "echo-result", Ok::<u32, String>(1));
    echoes(&binding, "echo-result", Err::<u32, _>("bad".to_owned()));
    echoes(&binding, "echo-result-unit", Err::<(), ()>(()));
    echoes(&binding, "echo-result-ok", Ok::<_, ()>(Bytes::from_static(b"ok")));
    echoes(&binding, "echo-result-error", Ok::<(), Shape>(()));
}

#[test]
fn flags_of_every_width_are_echoed() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    echoes(&binding, "echo-three", Three::A | Three::C);
    echoes(&binding, "echo-nine", Nine::B0 | Nine::B8);
    echoes(&binding, "echo-twenty", Twenty::B0 | Twenty::B8 | Twenty::B19);
    echoes(&binding, "echo-thirty-two", ThirtyTwo::B0 | ThirtyTwo::B31);
    assert_eq!(Nine::all().bits(), [0xff, 1]);
    assert_eq!(!Nine::all(), Nine::empty());
    assert!(ThirtyTwo::all().contains(ThirtyTwo::B30));
    let mut three = Three::all();
    three.remove(Three::B);
    assert_eq!(three, Three::A | Three::C);
    let unknown = binding.call_bytes("echo@1.0.0#echo-three", vec![0b1000], Form::Local);
    assert!(unknown.unwrap_err().message.contains("bits are set that name no flag"));
}

#[test]
fn many_parameters_arrive_in_order() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    let first = (1_u8, 2_u16, 3_u32, 4_u64, -5_i8, -6_i16, -7_i32, -8_i64);
    let second = (0.5_f32, 0.25_f64, true, 'x', "m".to_owned(), "n".to_owned());
    echoes(&binding, "sixteen", (first, second));
    let second = (0.5_f32, 0.25_f64, true, 'x', "m".to_owned(), Bytes::from(vec![1; 3000]));
    let arguments = (first, second.clone(), point(1), Some(9_u64), Shape::Empty);
    for form in [Form::Local, Form::Wrpc] {
        let bytes = wire::to_vec(&arguments, form);
        let answer = binding.call_bytes("echo@1.0.0#spilled", bytes, form).unwrap();
        let expected = wire::to_vec(&(first, second.clone(), point(1), Some(9_u64)), form);
        assert_eq!(answer, expected);
    }
    let numbers: [u64; 17] = std::array::from_fn(|index| index as u64);
    let bytes = numbers.iter().flat_map(|number| wire::to_vec(number, Form::Local)).collect();
    let answer = binding.call_bytes("echo@1.0.0#seventeen", bytes, Form::Local).unwrap();
    assert_eq!(wire::from_slice::<u64>(&answer, Form::Local), Ok(136));
    echoes(&binding, "keywords", (1_u32, 2_u32, 3_u32));
}

#[test]
fn an_answer_at_hand_comes_without_a_future() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    let start = |function: &str, arguments: Vec<u8>| {
        binding.start(loaded.function(function), arguments, &CallContext::default())
    };
    let outcome = start("kv/calls@1.0.0#get", wire::to_vec("65536", Form::Local));
    assert!(matches!(outcome, Begun::Ready(bytes) if bytes.len() == 65536 + 32));
    let outcome = start("kv/calls@1.0.0#pending", wire::to_vec(&5_u32, Form::Local));
    assert!(matches!(outcome, Begun::Pending(_)));
}

#[test]
fn the_bench_interface_answers() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    let set = binding.call::<Result<(), String>>("calls@1.0.0#set", &("16", vec![1_u8; 5000]));
    assert_eq!(set.unwrap(), Ok(()));
    type Got = Result<Option<Vec<u8>>, String>;
    assert_eq!(binding.call::<Got>("calls@1.0.0#get", &("16",)).unwrap(), Ok(Some(vec![1; 5000])));
    assert_eq!(binding.call::<Got>("calls@1.0.0#get", &("none",)).unwrap(), Ok(None));
    assert_eq!(binding.call::<u32>("calls@1.0.0#pending", &(17_u32,)).unwrap(), 17);
    let pairs = vec![("a".to_owned(), 1_u64), ("b".to_owned(), 2)];
    assert_eq!(
        binding.call::<Vec<(String, u64)>>("calls@1.0.0#list-pairs", &pairs).unwrap(),
        pairs
    );
}
