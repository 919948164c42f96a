//! `wasi:config/store`: a workload's configuration, read by the guest.
//!
//! Published under three names, with one shape.

use wasmtime::{
    StoreContextMut,
    component::{ComponentType, Lift, Linker, Lower},
};

use super::State;

/// The names it is published under.
pub(super) const NAMES: [&str; 3] = [
    "wasi:config/store@0.2.0-rc.1",
    "wasi:config/store@0.2.0-draft",
    "wasi:config/store@0.2.0-draft-2024-09-27",
];

/// `variant error`. A map in memory does not fail, so neither case is ever made.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for name in NAMES {
        let mut store = linker.instance(name)?;
        store.func_wrap("get", |store: StoreContextMut<'_, State>, (key,): (String,)| {
            Ok((Ok::<_, Error>(store.data().config().get(&key).cloned()),))
        })?;
        store.func_wrap("get-all", |store: StoreContextMut<'_, State>, (): ()| {
            let all: Vec<(String, String)> = store
                .data()
                .config()
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            Ok((Ok::<_, Error>(all),))
        })?;
    }
    Ok(())
}
