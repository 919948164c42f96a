//! The guest of `cargo xtask bench boundary`.
//!
//! | case | calls | `bytes` |
//! |---|---|---|
//! | `get` | `get` of a value that was set before | of the value |
//! | `set` | `set` | of the value |
//! | `list-u32` | `list-u32` | elements |
//! | `list-pairs` | `list-pairs` | elements |
//! | `record` | `rec` | not used |
//! | `resource` | the constructor of `cell`, `value`, and the drop | not used |
//! | `pending` | `pending` | not used |
//!
//! Arguments are made once, before the calls; what a call returns is dropped after it, as a guest
//! would.

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package bench:guest;
            world guest {
                import bench:kv/calls@1.0.0;
                export bench:kv/driver@1.0.0;
            }
        ",
        path: "../../../wit/bench-kv",
        generate_all,
    });
}

use std::hint::black_box;

use bindings::{
    bench::kv::calls::{self, Cell, TenFields},
    exports::bench::kv::driver::Guest,
};

/// The key that values are kept under.
const KEY: &str = "key";

struct Driver;

bindings::export!(Driver with_types_in bindings);

impl Guest for Driver {
    fn run(case: String, bytes: u32, iterations: u32) -> u64 {
        let done = match case.as_str() {
            "get" => get(bytes, iterations),
            "set" => set(bytes, iterations),
            "list-u32" => Some(list_u32(bytes, iterations)),
            "list-pairs" => Some(list_pairs(bytes, iterations)),
            "record" => Some(record(iterations)),
            "resource" => Some(repeat(iterations, |at| Cell::new(at).value().into())),
            "pending" => Some(repeat(iterations, |at| calls::pending(at).into())),
            _ => None,
        };
        match done {
            Some(checksum) => checksum,
            None => core::arch::wasm32::unreachable(),
        }
    }
}

/// Adds up what so many calls answer.
fn repeat(iterations: u32, mut call: impl FnMut(u32) -> u64) -> u64 {
    (0..iterations).fold(0, |sum, at| sum.wrapping_add(call(at)))
}

fn get(bytes: u32, iterations: u32) -> Option<u64> {
    calls::set(KEY, &value(bytes)).ok()?;
    let mut sum = 0_u64;
    for _ in 0..iterations {
        sum = sum.wrapping_add(calls::get(KEY).ok()??.len() as u64);
    }
    Some(sum)
}

fn set(bytes: u32, iterations: u32) -> Option<u64> {
    let value = value(bytes);
    for _ in 0..iterations {
        calls::set(KEY, black_box(&value)).ok()?;
    }
    Some(u64::from(bytes) * u64::from(iterations))
}

fn list_u32(elements: u32, iterations: u32) -> u64 {
    let list: Vec<u32> = (0..elements).map(|at| spread(at) as u32).collect();
    repeat(iterations, |_| calls::list_u32(black_box(&list)).len() as u64)
}

fn list_pairs(elements: u32, iterations: u32) -> u64 {
    let list: Vec<(String, u64)> =
        (0..elements).map(|at| (format!("key-{at:04}"), spread(at))).collect();
    repeat(iterations, |_| calls::list_pairs(black_box(&list)).len() as u64)
}

/// Numbers spread over the full range of their type, as hashes are: a multiplication by an odd number
/// leaves none out.
fn spread(at: u32) -> u64 {
    u64::from(at).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}

fn record(iterations: u32) -> u64 {
    let record = TenFields {
        a: 1,
        b: 2,
        c: 3,
        d: 4,
        e: -5,
        f: -6,
        g: 7.5,
        h: true,
        i: 'i',
        j: "the tenth".to_owned(),
    };
    repeat(iterations, |_| calls::rec(black_box(&record)).d)
}

fn value(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|at| at as u8).collect()
}
