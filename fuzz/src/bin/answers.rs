//! Arbitrary answers of a provider, lowered into a guest by random types: an error or a value, never more.

#![no_main]
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "shared with the tests of the boundary"
)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "as in tests")]

#[path = "../../../host/tests/boundary/component.rs"]
mod component;
#[path = "../../../host/tests/boundary/generate.rs"]
mod generate;
#[path = "../../../host/tests/boundary/harness.rs"]
mod harness;
#[path = "../../../host/tests/boundary/values.rs"]
mod values;

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use backplane::boundary::{
    Binding,
    imports::imports,
    link::{LinkedImport, define},
};
use generate::{Encoding, Lowering, Rng, Signature};
use harness::{Data, Recorder, Shared, block_on, engine};
use libfuzzer_sys::fuzz_target;
use wasmtime::{
    Store,
    component::{Component, InstancePre, Linker, Val},
};

/// A component with its provider, by the seed of its types.
struct Case {
    signature: Signature,
    recorder: Arc<Recorder>,
    pre: InstancePre<Data>,
    component: Component,
}

thread_local! {
    static CASES: RefCell<HashMap<u8, Case>> = RefCell::default();
}

fn case(seed: u8) -> Case {
    let mut rng = Rng::new(u64::from(seed) + 1);
    let signature = Signature::random(&mut rng);
    let encoding = [Encoding::Utf8, Encoding::Utf16, Encoding::CompactUtf16][rng.below(3)];
    let engine = engine(false);
    let text = component::forwarding(&signature, encoding, Lowering::Sync);
    let component = Component::new(&engine, wat::parse_str(&text).unwrap()).unwrap();
    let recorder = Arc::new(Recorder::default());
    let binding = Binding::new(Arc::new(Shared(Arc::clone(&recorder))));
    let found = imports(&engine, &component, |_| false).unwrap();
    let functions: Vec<_> =
        found[0].functions.iter().map(|(name, ty)| (name.clone(), ty.clone(), 0)).collect();
    let mut linker = Linker::<Data>::new(&engine);
    let import = LinkedImport {
        name: &found[0].name,
        functions: &functions,
        defines: &[],
        resources: &[],
        binding: &binding,
    };
    define(&mut linker, &import).unwrap();
    let pre = linker.instantiate_pre(&component).unwrap();
    Case { signature, recorder, pre, component }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((seed, answer)) = bytes.split_first() else { return };
    CASES.with_borrow_mut(|cases| {
        let case = cases.entry(*seed).or_insert_with(|| case(*seed));
        let mut rng = Rng::new(7);
        let params: Vec<Val> = case.signature.params.iter().map(|ty| ty.value(&mut rng)).collect();
        let mut results = vec![Val::Bool(false); usize::from(case.signature.result.is_some())];
        *case.recorder.answer.lock().unwrap() = answer.to_vec();
        let mut store = Store::new(case.component.engine(), Data::new());
        let place = case.component.get_export_index(None, "test:gen/run@1.0.0").unwrap();
        let place = case.component.get_export_index(Some(&place), "run").unwrap();
        block_on(async {
            let instance = case.pre.instantiate_async(&mut store).await.unwrap();
            let run = instance.get_func(&mut store, place).unwrap();
            drop(run.call_async(&mut store, &params, &mut results).await);
        });
    });
});
