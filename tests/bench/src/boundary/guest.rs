//! A guest in a store that is set up as the host's are.

use std::{collections::HashMap, time::Duration};

use anyhow::anyhow;
use backplane::{
    boundary::{StoreData, StoreState},
    workload::spec::Limits,
};
use tokio::runtime::Runtime;
use wasmtime::{
    Engine, Result, Store, StoreLimits, StoreLimitsBuilder, UpdateDeadline,
    component::{Component, Linker, TypedFunc},
    error::Context as _,
};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_keyvalue::{WasiKeyValue, WasiKeyValueCtx, WasiKeyValueCtxBuilder};

use super::Case;
use crate::measure::{Clock, Timed};

/// The data of a store: what the host's have, and what the functions compiled in keep.
pub(super) struct Data {
    pub(super) table: ResourceTable,
    /// What `set` was given, for the functions that are compiled in.
    pub(super) values: HashMap<String, Vec<u8>>,
    wasi: WasiCtx,
    keyvalue: WasiKeyValueCtx,
    boundary: StoreState,
    limits: StoreLimits,
}

impl StoreData for Data {
    fn boundary(&mut self) -> &mut StoreState {
        &mut self.boundary
    }

    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// A linker with the core interfaces that the guests import.
pub(super) fn core_linker(engine: &Engine) -> Result<Linker<Data>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    Ok(linker)
}

/// A linker with `wasi:keyvalue` of the crate `wasmtime-wasi-keyvalue`.
pub(super) fn keyvalue_linker(engine: &Engine) -> Result<Linker<Data>> {
    let mut linker = core_linker(engine)?;
    wasmtime_wasi_keyvalue::add_to_linker(&mut linker, |data: &mut Data| {
        WasiKeyValue::new(&data.keyvalue, &mut data.table)
    })?;
    Ok(linker)
}

/// An instance that waits to be told what to call.
pub(super) struct Guest {
    store: Store<Data>,
    run: TypedFunc<(String, u32, u32), (u64,)>,
}

/// What guests export: those that call, and those that move streams of WASI 0.3.
const DRIVERS: [&str; 2] = ["bench:kv/driver@1.0.0", "bench:streams/driver@1.0.0"];

impl Guest {
    pub(super) async fn new(
        engine: &Engine,
        component: &Component,
        linker: Linker<Data>,
    ) -> Result<Self> {
        let mut store = store(engine);
        let instance = linker.instantiate_async(&mut store, component).await?;
        let driver = DRIVERS
            .iter()
            .find_map(|name| instance.get_export_index(&mut store, None, name))
            .context("the guest has no driver")?;
        let run = instance
            .get_export_index(&mut store, Some(&driver), "run")
            .context("the guest's driver has no function `run`")?;
        let run = instance.get_typed_func(&mut store, run)?;
        Ok(Self { store, run })
    }

    /// The guest making calls of a case.
    pub(super) fn timed<'a>(
        &'a mut self,
        runtime: &'a Runtime,
        case: &'a Case,
        clock: Clock,
    ) -> Timed<'a> {
        Box::new(move |iterations| {
            let arguments = (case.name.to_owned(), case.argument, iterations);
            runtime.block_on(async {
                let begun = clock.now();
                let called = self.run.call_async(&mut self.store, arguments).await;
                called.map_err(|error| anyhow!("{error:?}"))?;
                Ok(clock.now().saturating_sub(begun))
            })
        })
    }
}

/// A store with the limits that the host sets by default.
fn store(engine: &Engine) -> Store<Data> {
    let limits = Limits::default();
    let mut boundary = StoreState::default();
    // Far off: a deadline is there, and does not pass.
    boundary.context.deadline = Duration::from_secs(1 << 32).as_nanos() as u64;
    let data = Data {
        table: ResourceTable::new(),
        values: HashMap::new(),
        wasi: WasiCtx::builder().build(),
        keyvalue: WasiKeyValueCtxBuilder::new().build(),
        boundary,
        limits: StoreLimitsBuilder::new().memory_size(limits.memory).build(),
    };
    let mut store = Store::new(engine, data);
    store.limiter(|data| &mut data.limits);
    store.set_hostcall_fuel(limits.hostcall);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|_| {
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store
}
