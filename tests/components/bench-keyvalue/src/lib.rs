//! The guest of the key-value rows of `cargo xtask bench boundary`: `kv-get` and `kv-set` call `get`
//! and `set` of a `wasi:keyvalue` bucket with values of `bytes` bytes.
//!
//! The version is 0.2.0-draft, because that is what `wasmtime-wasi-keyvalue` implements, and the
//! same guest has to run against both. The bucket is the default one (the empty identifier, the only
//! one that crate knows), opened once, before the calls.

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package bench:keyvalue;
            world guest {
                import wasi:keyvalue/store@0.2.0-draft;
                export bench:kv/driver@1.0.0;
            }
        ",
        path: ["../../../wit/bench-kv", "../../../wit/wasi-keyvalue-0.2.0-draft"],
        generate_all,
    });
}

use std::hint::black_box;

use bindings::{
    exports::bench::kv::driver::Guest,
    wasi::keyvalue::store::{self, Bucket},
};

/// The key that values are kept under.
const KEY: &str = "key";

struct Driver;

bindings::export!(Driver with_types_in bindings);

impl Guest for Driver {
    fn run(case: String, bytes: u32, iterations: u32) -> u64 {
        let done = store::open("").ok().and_then(|bucket| match case.as_str() {
            "kv-get" => get(&bucket, bytes, iterations),
            "kv-set" => set(&bucket, bytes, iterations),
            _ => None,
        });
        match done {
            Some(checksum) => checksum,
            None => core::arch::wasm32::unreachable(),
        }
    }
}

fn get(bucket: &Bucket, bytes: u32, iterations: u32) -> Option<u64> {
    bucket.set(KEY, &value(bytes)).ok()?;
    let mut sum = 0_u64;
    for _ in 0..iterations {
        sum = sum.wrapping_add(bucket.get(KEY).ok()??.len() as u64);
    }
    Some(sum)
}

fn set(bucket: &Bucket, bytes: u32, iterations: u32) -> Option<u64> {
    let value = value(bytes);
    for _ in 0..iterations {
        bucket.set(KEY, black_box(&value)).ok()?;
    }
    Some(u64::from(bytes) * u64::from(iterations))
}

fn value(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|at| at as u8).collect()
}
