//! The boundary held against the runtime's own dynamic path, on random types and values, and against
//! guests that do what no compiler would have them do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod component;
mod generate;
mod harness;
mod hostile;
mod moving;
mod resources;
mod values;

use std::{io::Write as _, sync::Arc};

use backplane::boundary::Binding;
use wasmtime::{
    Store,
    component::{Component, Linker},
};

use generate::{Encoding, Lowering, Rng, Signature};

/// Cases a run; `BOUNDARY_CASES` sets another number.
fn cases() -> u64 {
    std::env::var("BOUNDARY_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(2000)
}

fn seed() -> u64 {
    std::env::var("BOUNDARY_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
            as u64
    })
}

#[test]
fn every_type_crosses_as_the_runtime_itself_would_carry_it_and_hostile_guests_are_held() {
    let compared = compare_all();
    let held = hostile::hold_all();
    // Past the capture of a test's output: the line that `cargo xtask test boundary` ends with.
    let mut out = std::io::stdout();
    writeln!(
        out,
        "\nboundary: {} types, {compared} values compared, {held} hostile cases held",
        cases()
    )
    .unwrap();
}

/// Random types and values; how many were compared.
fn compare_all() -> u64 {
    let first = seed();
    let mut compared = 0;
    for case in 0..cases() {
        let seed = first.wrapping_add(case);
        let run = std::panic::catch_unwind(|| one(seed));
        match run {
            Ok(values) => compared += values,
            Err(panic) => {
                eprintln!("failed with BOUNDARY_SEED={seed} BOUNDARY_CASES=1");
                std::panic::resume_unwind(panic);
            }
        }
    }
    compared
}

/// One signature, several sets of values; how many values were compared.
fn one(seed: u64) -> u64 {
    let mut rng = Rng::new(seed);
    let signature = Signature::random(&mut rng);
    let encoding = [Encoding::Utf8, Encoding::Utf16, Encoding::CompactUtf16][rng.below(3)];
    let concurrent = rng.below(2) == 0;
    let lowering = match (concurrent, signature.forwards_async()) {
        (true, true) if rng.below(2) == 0 => Lowering::Async,
        _ => Lowering::Sync,
    };
    harness::compare(&mut rng, &signature, encoding, lowering, concurrent)
        + moving::compare(&mut rng)
}

#[test]
fn parameters_pass_flat_and_spilled_at_every_count() {
    let mut rng = Rng::new(7);
    for count in 0..=18 {
        let signature = Signature::of_u32s(count);
        harness::compare(&mut rng, &signature, Encoding::Utf8, Lowering::Sync, false);
        harness::compare(&mut rng, &signature, Encoding::Utf8, Lowering::Sync, true);
        harness::compare(&mut rng, &signature, Encoding::Utf8, Lowering::Async, true);
    }
}

#[test]
fn results_of_an_async_export_pass_flat_and_in_memory_at_every_count() {
    for count in 0..=18 {
        let engine = harness::engine(true);
        let text = component::returning(count);
        let bytes = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let component = Component::new(&engine, bytes).unwrap();
        let binding = Binding::new(Arc::new(harness::Recorder::default()));
        let export = harness::export(&engine, &component, &binding);
        for beside in [false, true] {
            let mut store = Store::new(&engine, harness::Data::new());
            let linker = Linker::new(&engine);
            let instance = linker.instantiate_async(&mut store, &component);
            let instance = harness::block_on(instance).unwrap();
            let results = harness::call(&export, &mut store, &instance, Vec::new(), beside);
            let expected: Vec<u8> = (0..count as u32).flat_map(u32::to_le_bytes).collect();
            assert_eq!(results.unwrap(), expected, "{count} {beside}");
        }
    }
}
