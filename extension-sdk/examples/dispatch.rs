//! What a call costs inside an extension: the ABI, decoding, dispatch and encoding, without a host.
//!
//! `cargo run --release -p backplane-sdk --example dispatch -- target/release/libprobe.so [CASE]`

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{hint::black_box, path::Path, time::Instant};

use backplane_sdk::{
    abi::{CallContext, ExtensionModuleRef, abi_stable::library::lib_header_from_path},
    wire::{self, Form},
};
use support::{Begun, Bound, Handle, Loaded};

fn measure(what: &str, mut call: impl FnMut()) {
    if std::env::args().nth(2).is_some_and(|wanted| !what.contains(&wanted)) {
        return;
    }
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..20_000 {
            call();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / 20_000.0);
    }
    println!("{what:<40} {best:>8.1} ns");
}

fn ready(binding: &Bound<'_>, function: u32, arguments: &[u8]) {
    let outcome = binding.start(function, arguments.to_vec(), &CallContext::default());
    match black_box(outcome) {
        Begun::Ready(bytes) => drop(bytes),
        Begun::Pending(_) | Begun::Failed(_) => unreachable!("the answer is at hand"),
    }
}

fn main() {
    let file = std::env::args().nth(1).unwrap();
    let module: ExtensionModuleRef =
        lib_header_from_path(Path::new(&file)).unwrap().init_root_module().unwrap();
    let loaded = Loaded::new(module, "{}").unwrap();
    let binding = loaded.bind("{}").unwrap();

    let nothing = loaded.function("echo@1.0.0#nothing");
    let get = loaded.function("calls@1.0.0#get");
    let label = loaded.function("calls@1.0.0#[method]cell.value");
    let make = loaded.function("calls@1.0.0#[constructor]cell");
    let cell_type = loaded.resource("calls@1.0.0#cell");
    let cell: Handle = binding.call("calls@1.0.0#[constructor]cell", &(1_u32,)).unwrap();

    let key = wire::to_vec("16", Form::Local);
    measure("argument buffer alone", || drop(black_box(key.clone())));
    measure("nothing()", || ready(&binding, nothing, &[]));
    measure("get(16 B)", || ready(&binding, get, &key));
    let large = wire::to_vec("1048576", Form::Local);
    measure("get(1 MiB)", || ready(&binding, get, &large));
    let set = loaded.function("calls@1.0.0#set");
    for size in [16, 1024] {
        let pair = wire::to_vec(&("key", vec![7_u8; size]), Form::Local);
        measure(&format!("set({size} B)"), || ready(&binding, set, &pair));
    }
    let list = loaded.function("calls@1.0.0#list-u32");
    let numbers = wire::to_vec(&(0..1000_u32).collect::<Vec<_>>(), Form::Local);
    measure("list-u32(1,000)", || ready(&binding, list, &numbers));
    let pairs = loaded.function("calls@1.0.0#list-pairs");
    let list: Vec<_> = (0..1000_u64).map(|at| (format!("key-{at:04}"), at)).collect();
    let list = wire::to_vec(&list, Form::Local);
    measure("list-pairs(1,000)", || ready(&binding, pairs, &list));
    let record = loaded.function("calls@1.0.0#rec");
    let fields = ((1_u8, 2_u16, 3_u32, 4_u64, -5_i32), (-6_i64, 7.5_f64, true, 'i', "the tenth"));
    let fields = wire::to_vec(&fields, Form::Local);
    measure("rec(ten fields)", || ready(&binding, record, &fields));
    let handle = wire::to_vec(&cell, Form::Local);
    measure("cell.value()", || ready(&binding, label, &handle));
    let number = wire::to_vec(&1_u32, Form::Local);
    measure("cell made and dropped", || {
        match binding.start(make, number.clone(), &CallContext::default()) {
            Begun::Ready(bytes) => {
                let handle: Handle = wire::from_slice(&bytes, Form::Local).unwrap();
                binding.drop_resource(cell_type, handle.0);
            }
            Begun::Pending(_) | Begun::Failed(_) => unreachable!("the answer is at hand"),
        }
    });
    let pending = loaded.function("calls@1.0.0#pending");
    measure("pending, not polled", || {
        drop(black_box(binding.start(pending, number.clone(), &CallContext::default())));
    });
}
