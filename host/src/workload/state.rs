//! The data of a store: everything that an instance may use.

use std::{collections::BTreeMap, sync::Arc};

use backplane_abi::CallContext;
use wasmtime::{Engine, Store, UpdateDeadline, component::GuestTaskId};
use wasmtime_wasi::{FsPerms, ResourceTable, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::{
    egress::{Grants, LookedUp, Outbound},
    limits::{Denied, MemoryLimit},
    spec::{Preopen, Spec},
    stdio::{LogStream, Stream},
};
use crate::boundary::{StoreData, StoreState, streams::Ending};

/// Resources of the core interfaces that one instance may hold: streams, fields, requests and the like.
const MAX_RESOURCES: usize = 16_384;

/// The data of a store.
pub struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
    looked_up: Option<LookedUp>,
    boundary: StoreState,
    memory: MemoryLimit,
    config: Arc<BTreeMap<String, String>>,
}

impl State {
    /// What `wasi:config/store` answers.
    pub(super) fn config(&self) -> &BTreeMap<String, String> {
        &self.config
    }

    /// What the workload may reach over the network.
    pub(super) fn grants(&self) -> &Arc<Grants> {
        &self.outbound.0
    }

    /// Where the names that the guest looks up are noted, if its sockets are granted by name.
    pub(super) fn looked_up(&self) -> Option<&LookedUp> {
        self.looked_up.as_ref()
    }

    /// Says that something begins which was asked of the guest: what its calls carry on. Where it has a task,
    /// calls are told by it from those of others.
    pub(super) fn begin(&mut self, context: CallContext, task: Option<GuestTaskId>) {
        self.boundary.begin(context, task);
    }

    /// How many requests are told apart.
    pub(super) fn begun(&self) -> usize {
        self.boundary.tasks()
    }

    /// Forgets the requests of all other tasks.
    pub(super) fn keep_only(&mut self, tasks: &[GuestTaskId]) {
        self.boundary.keep_only(tasks);
    }

    /// Says that the guest has done all that it was given.
    pub(super) fn settle(&mut self) {
        self.boundary.keep_only(&[]);
        self.memory.forget_denied();
    }

    /// What the guest has been denied when it wanted to grow.
    pub(super) fn denied(&self) -> Option<Denied> {
        self.memory.denied()
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl StoreData for State {
    fn boundary(&mut self) -> &mut StoreState {
        &mut self.boundary
    }

    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outbound, table: &mut self.table, ctx: &mut self.http }
    }
}

/// What every store of a workload is made from.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) spec: Spec,
    grants: Arc<Grants>,
    config: Arc<BTreeMap<String, String>>,
}

impl Template {
    pub(super) fn new(spec: Spec, grants: Grants) -> Self {
        let config = Arc::new(spec.config.clone());
        Self { spec, grants: Arc::new(grants), config }
    }

    /// A fresh store, with the limits of the workload set, for what is asked in that context. `ending` is to say
    /// when its guest is ended early. Fails if a granted folder is gone.
    pub(super) fn store(
        &self,
        engine: &Engine,
        context: CallContext,
        ending: Ending,
    ) -> wasmtime::Result<Store<State>> {
        let limits = &self.spec.limits;
        let (wasi, looked_up) = self.wasi()?;
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let state = State {
            table,
            wasi,
            looked_up,
            http: WasiHttpCtx::new(),
            outbound: Outbound(Arc::clone(&self.grants)),
            boundary: StoreState::new(context, ending),
            memory: MemoryLimit::new(limits),
            config: Arc::clone(&self.config),
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits.hostcall);
        store.set_epoch_deadline(1);
        // wasmtime's own yield wakes at once, and the runtime would poll sockets and timers only
        // every so many tasks; behind this one they come first.
        store.epoch_deadline_callback(|_| {
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        Ok(store)
    }

    fn wasi(&self) -> wasmtime::Result<(WasiCtx, Option<LookedUp>)> {
        let spec = &self.spec;
        let mut wasi = WasiCtx::builder();
        if spec.inherit_stdio {
            wasi.inherit_stdio();
        } else {
            wasi.stdout(LogStream::new(spec.name.clone(), Stream::Stdout));
            wasi.stderr(LogStream::new(spec.name.clone(), Stream::Stderr));
        }
        wasi.arg(spec.name.as_str()).args(&spec.arguments);
        for (name, value) in &spec.environment {
            wasi.env(name, value);
        }
        for Preopen { host, guest, writable } in &spec.preopens {
            let perms = if *writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            wasi.preopened_dir(host, guest, perms)?;
        }
        let looked_up = self.grants.configure(&mut wasi);
        Ok((wasi.build(), looked_up))
    }
}
