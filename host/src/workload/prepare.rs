//! From a spec to a workload whose instances are made from a linked template.

use std::{path::PathBuf, sync::Arc, time::Duration};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::{runtime::Handle, sync::watch};
use wasmtime::{
    Engine, Store,
    component::{Component, Instance, InstancePre, Linker},
};
use wasmtime_wasi::{p2, p3};
use wasmtime_wasi_http::{p2 as http_p2, p3 as http_p3};

use super::{
    Ended, State,
    admission::{Admission, Places},
    calls::{Exported, Running},
    core,
    egress::{self, Egress, Grants},
    extension::Released,
    instances::{Instances, OneAtATime, Plan},
    spec::{Route, Spec},
    state::Template,
};
use crate::{
    boundary::{imports::imports, invoke::Export},
    engine::{CompileError, Compiled, EngineKind, Engines},
    metric::{
        GUEST_CPU_SECONDS, INSTANCES, INSTANCES_ENDED, INSTANCES_STARTED, LIMITS_HIT,
        REQUEST_SECONDS, REQUESTS, REQUESTS_QUEUED, REQUESTS_RUNNING,
    },
    name::{InterfaceName, WorkloadName},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a workload cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The file of the component cannot be read.
    #[error("failed to read `{}`, the component of workload `{workload}`; expected a file this user can read", path.display())]
    Read {
        /// The workload.
        workload: WorkloadName,
        /// The file.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
    /// The file is not a component that runs here.
    #[error("failed to load `{}`, the component of workload `{workload}`", path.display())]
    Compile {
        /// The workload.
        workload: WorkloadName,
        /// The file.
        path: PathBuf,
        /// What it is instead.
        source: CompileError,
    },
    /// An import could not be linked.
    #[error("failed to link workload `{workload}`")]
    Link {
        /// The workload.
        workload: WorkloadName,
        /// Which import, and why.
        source: BoxError,
    },
    /// A granted folder cannot be opened.
    #[error(
        "failed to open `{}`, a folder that workload `{workload}` is granted; expected a folder this user can read",
        path.display()
    )]
    Preopen {
        /// The workload.
        workload: WorkloadName,
        /// The folder.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
    /// Requests are routed to it, and it answers none.
    #[error(
        "workload `{workload}` has a route, and its component `{}` does not answer HTTP; \
         expected an export of `wasi:http/incoming-handler@0.2` or `wasi:http/handler@0.3`; \
         remove the route or build the component for the `wasi:http` proxy world",
        path.display()
    )]
    NoHandler {
        /// The workload.
        workload: WorkloadName,
        /// Its component.
        path: PathBuf,
    },
    /// Its instances are to answer several requests at once, and cannot.
    #[error(
        "workload `{workload}` is to answer several requests at once in an instance \
         (`workloads.{workload}.instances.concurrent`), and {source}; expected 1; remove the setting"
    )]
    Concurrent {
        /// The workload.
        workload: WorkloadName,
        /// Why it cannot.
        source: OneAtATime,
    },
}

/// What makes a workload run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// It answers HTTP requests.
    Http,
    /// It is a `wasi:cli/run` command.
    Command,
    /// A provider calls what it exports.
    Calls,
    /// Nothing: nobody calls what it exports.
    None,
}

/// A component compiled and not yet linked: the time for providers to add the imports that are theirs.
pub struct Loaded {
    spec: Spec,
    default_route: Option<Route>,
    egress: Egress,
    places: Places,
    compiled: Compiled,
    engines: Engines,
    runtime: Handle,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("workload", &self.spec.name).finish_non_exhaustive()
    }
}

impl Loaded {
    /// Reads and compiles the workload's component. What blocks runs on a thread that may.
    pub async fn load(engines: &Engines, spec: Spec) -> Result<Self, PrepareError> {
        let (workload, path) = (spec.name.clone(), spec.component.clone());
        let bytes = tokio::fs::read(&path).await.map_err(|source| PrepareError::Read {
            workload,
            path,
            source,
        })?;
        Self::of(engines, spec, bytes).await
    }

    /// The same of a component that was read.
    pub async fn of(engines: &Engines, spec: Spec, bytes: Vec<u8>) -> Result<Self, PrepareError> {
        let compiled = engines.compile(bytes).await.map_err(|source| PrepareError::Compile {
            workload: spec.name.clone(),
            path: spec.component.clone(),
            source,
        })?;
        Ok(Self {
            spec,
            default_route: None,
            egress: Egress::default(),
            places: Places::new(engines),
            compiled,
            engines: engines.clone(),
            runtime: Handle::current(),
        })
    }

    /// What the workload is to be.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The component, for its imports and their types.
    pub fn component(&self) -> &Component {
        &self.compiled.component
    }

    /// The engine it runs in: whether `async func`s can be linked.
    pub fn kind(&self) -> EngineKind {
        self.compiled.kind
    }

    fn engine(&self) -> &Engine {
        self.compiled.component.engine()
    }

    /// The names of everything it imports.
    pub fn imports(&self) -> Vec<String> {
        let ty = self.compiled.component.component_type();
        ty.imports(self.engine()).map(|(name, _)| name.to_owned()).collect()
    }

    /// The names of everything it exports.
    pub fn exports(&self) -> Vec<String> {
        let ty = self.compiled.component.component_type();
        ty.exports(self.engine()).map(|(name, _)| name.to_owned()).collect()
    }

    /// Gives it a route for the case that it answers HTTP and has none of its own.
    pub fn routed_by_default(mut self, route: Route) -> Self {
        self.default_route = Some(route);
        self
    }

    /// Gives it what the host lends all workloads for their traffic; without, its own of the system.
    pub fn with_egress(mut self, egress: Egress) -> Self {
        self.egress = egress;
        self
    }

    /// Gives it the places that the host's workloads share; without, it has all of the engines to itself.
    pub fn with_places(mut self, places: Places) -> Self {
        self.places = places;
        self
    }

    /// A linker with the core interfaces.
    pub fn linker(&self) -> Result<Linker<State>, PrepareError> {
        let mut linker = Linker::new(self.engine());
        core::add_to_linker(&mut linker, self.compiled.kind)
            .and_then(|()| {
                egress::add_to_linker(&mut linker, self.compiled.kind, &self.spec.network)
            })
            .map_err(|error| self.link_error(error.into()))?;
        Ok(linker)
    }

    /// Makes the workload from its component and everything it imports. `exports` are the functions that its
    /// providers call, each at the place that is its number.
    pub fn finish(
        self,
        linker: &Linker<State>,
        exports: Vec<Export<State>>,
    ) -> Result<Workload, PrepareError> {
        self.made(linker, exports, None)
    }

    /// Makes one that is an extension: `exports` are what it provides. What it makes and nobody holds any more is in
    /// `released`.
    pub(super) fn serving(
        self,
        linker: &Linker<State>,
        exports: Vec<Export<State>>,
        released: Arc<Released>,
    ) -> Result<Workload, PrepareError> {
        self.made(linker, exports, Some(released))
    }

    fn made(
        self,
        linker: &Linker<State>,
        exports: Vec<Export<State>>,
        released: Option<Arc<Released>>,
    ) -> Result<Workload, PrepareError> {
        let pre = linker
            .instantiate_pre(&self.compiled.component)
            .map_err(|error| self.link_error(error.into()))?;
        let (http, command) =
            triggers(&self, &pre).map_err(|error| self.link_error(error.into()))?;
        let reason = self.one_at_a_time();
        let mut spec = self.spec;
        let workload = spec.name.clone();
        if http.is_some() && spec.http.is_none() {
            spec.http = self.default_route;
        }
        if spec.http.is_some() && http.is_none() {
            return Err(PrepareError::NoHandler { workload, path: spec.component });
        }
        for preopen in &spec.preopens {
            std::fs::read_dir(&preopen.host).map_err(|source| PrepareError::Preopen {
                workload: workload.clone(),
                path: preopen.host.clone(),
                source,
            })?;
        }
        let has_own = exports.iter().any(Export::has_own);
        let mut plan = if http.is_none() && exports.is_empty() {
            Plan::FRESH
        } else {
            Plan::new(&spec.instances, reason)
                .map_err(|source| PrepareError::Concurrent { workload, source })?
        };
        if has_own {
            plan.concurrent = 1;
        }
        // Its turns are those of its instances: what waits for one, waits in its queue.
        if let Some(most) = plan.most {
            let turns = most.saturating_mul(plan.concurrent);
            spec.limits.concurrency = spec.limits.concurrency.min(turns);
        }
        let is_called = released.is_none();
        let exports =
            exports.into_iter().map(|export| Exported::new(&spec.name, export, is_called));
        let grants = Grants::new(&spec.name, &spec.network, &self.egress);
        let queued = gauge!(REQUESTS_QUEUED.name, "workload" => spec.name.to_string());
        let kind = self.compiled.kind;
        let pool = self.places.of(kind);
        Ok(Workload {
            kind,
            admission: Admission::new(pool, self.compiled.places(), &spec.limits, queued),
            meters: Meters::new(&spec.name),
            stop: watch::Sender::new(false),
            called: Running::default(),
            instances: Instances::new(plan),
            exports: exports.collect(),
            released: released.filter(|_| has_own),
            runtime: self.runtime,
            pre,
            template: Template::new(spec, grants),
            engine: self.compiled.component.engine().clone(),
            _engines: self.engines,
            http,
            command,
        })
    }

    /// Why an instance can take one request at a time only, if it is so. What a guest imports of the
    /// core and waits for, it waits for with its whole instance as well; that is the guest's choice, for
    /// each of those has an `async func` in 0.3.
    fn one_at_a_time(&self) -> Option<OneAtATime> {
        if self.kind() == EngineKind::Sync {
            return Some(OneAtATime::Engine);
        }
        // What cannot be read was refused when it was linked.
        let imports = imports(self.engine(), self.component(), core::is_core).unwrap_or_default();
        let plain = imports
            .into_iter()
            .find(|import| import.functions.iter().any(|(_, function)| !function.is_async))?;
        Some(OneAtATime::Import(plain.name))
    }

    fn link_error(&self, source: BoxError) -> PrepareError {
        PrepareError::Link { workload: self.spec.name.clone(), source }
    }
}

/// By which of an instance's functions it answers HTTP.
pub(super) enum HttpIndices {
    P2(http_p2::bindings::ProxyIndices),
    P3(http_p3::bindings::ServiceIndices),
}

/// An instance that answers HTTP.
pub(super) enum HttpHandler {
    P2(http_p2::bindings::Proxy),
    P3(http_p3::bindings::Service),
}

impl HttpIndices {
    /// That of an instance.
    pub(super) fn of(
        &self,
        store: &mut Store<State>,
        instance: &Instance,
    ) -> wasmtime::Result<HttpHandler> {
        match self {
            Self::P2(indices) => indices.load(store, instance).map(HttpHandler::P2),
            Self::P3(indices) => indices.load(store, instance).map(HttpHandler::P3),
        }
    }
}

/// The template of an instance that is a command.
pub(super) enum CommandPre {
    P2(p2::bindings::CommandPre<State>),
    P3(p3::bindings::CommandPre<State>),
}

type Triggers = (Option<HttpIndices>, Option<CommandPre>);

fn triggers(loaded: &Loaded, pre: &InstancePre<State>) -> wasmtime::Result<Triggers> {
    let (mut http, mut command) = (None, None);
    for (name, _) in loaded.compiled.component.component_type().exports(loaded.engine()) {
        let Ok(name) = name.parse::<InterfaceName>() else { continue };
        let Some(version) = name.version() else { continue };
        match (name.package(), name.interface(), version.major, version.minor) {
            ("wasi:http", "incoming-handler", 0, 2) => {
                http = Some(HttpIndices::P2(http_p2::bindings::ProxyIndices::new(pre)?));
            }
            ("wasi:http", "handler", 0, 3) => {
                http = Some(HttpIndices::P3(http_p3::bindings::ServiceIndices::new(pre)?));
            }
            ("wasi:cli", "run", 0, 2) => {
                command = Some(CommandPre::P2(p2::bindings::CommandPre::new(pre.clone())?));
            }
            ("wasi:cli", "run", 0, 3) => {
                command = Some(CommandPre::P3(p3::bindings::CommandPre::new(pre.clone())?));
            }
            _ => {}
        }
    }
    Ok((http, command))
}

/// What is measured of a workload; handles are taken once, not for each request.
pub(super) struct Meters {
    workload: WorkloadName,
    well: Counter,
    seconds: Histogram,
    pub(super) cpu_seconds: Histogram,
    running: Gauge,
    instances: Gauge,
    instances_started: Counter,
    instances_ended: [Counter; 5],
}

/// Why an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It had answered as many requests as it may.
    UsedUp,
    /// It had none for a while.
    Idle,
    /// It failed.
    Failed,
    /// A client left whose request could not be ended alone.
    Cancelled,
    /// The workload was ended.
    Closed,
}

impl End {
    const LABELS: [&str; 5] = ["used-up", "idle", "failed", "cancelled", "closed"];
}

impl Meters {
    fn new(workload: &WorkloadName) -> Self {
        let label = workload.to_string();
        Self {
            workload: workload.clone(),
            well: ended_counter(workload, "well"),
            seconds: histogram!(REQUEST_SECONDS.name, "workload" => label.clone()),
            cpu_seconds: histogram!(GUEST_CPU_SECONDS.name, "workload" => label.clone()),
            running: gauge!(REQUESTS_RUNNING.name, "workload" => label.clone()),
            instances: gauge!(INSTANCES.name, "workload" => label.clone()),
            instances_started: counter!(INSTANCES_STARTED.name, "workload" => label.clone()),
            instances_ended: End::LABELS.map(
                |why| counter!(INSTANCES_ENDED.name, "workload" => label.clone(), "why" => why),
            ),
        }
    }

    pub(super) fn well(&self) {
        self.well.increment(1);
    }

    pub(super) fn cancelled(&self) {
        ended_counter(&self.workload, "cancelled").increment(1);
    }

    pub(super) fn failed(&self, ended: &Ended) {
        ended_counter(&self.workload, ended.kind()).increment(1);
        if let Some(limit) = ended.limit() {
            self.hit(limit);
        }
    }

    fn hit(&self, limit: &'static str) {
        let workload = self.workload.to_string();
        counter!(LIMITS_HIT.name, "workload" => workload, "limit" => limit).increment(1);
    }

    pub(super) fn running(&self, change: f64) {
        self.running.increment(change);
    }

    pub(super) fn instance_started(&self) {
        self.instances_started.increment(1);
        self.instances.increment(1.0);
    }

    pub(super) fn instance_ended(&self, why: End) {
        self.instances.decrement(1.0);
        if let Some(counter) = self.instances_ended.get(why as usize) {
            counter.increment(1);
        }
    }
}

fn ended_counter(workload: &WorkloadName, how: &'static str) -> Counter {
    counter!(REQUESTS.name, "workload" => workload.to_string(), "ended" => how)
}

/// A workload that is ready to run. Its instances come from the engine's pool.
pub struct Workload {
    pub(super) template: Template,
    /// Kept, so that the ticker runs as long as anything that it must interrupt.
    engine: Engine,
    pub(super) kind: EngineKind,
    /// Has the thread that makes its guests yield.
    _engines: Engines,
    /// The template of its instances.
    pub(super) pre: InstancePre<State>,
    pub(super) http: Option<HttpIndices>,
    /// What its providers call.
    pub(super) exports: Vec<Exported>,
    /// Its resources that nobody holds any more, where it is an extension that makes some.
    pub(super) released: Option<Arc<Released>>,
    /// Where their calls run.
    pub(super) runtime: Handle,
    pub(super) command: Option<CommandPre>,
    pub(super) admission: Admission,
    pub(super) meters: Meters,
    pub(super) instances: Instances,
    /// Calls of its providers that run.
    pub(super) called: Running,
    /// Tells calls, and guests behind their responses, that they must end now. The last to be dropped: whoever
    /// listens knows then that the workload has let go of its providers.
    pub(super) stop: watch::Sender<bool>,
}

impl std::fmt::Debug for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workload").field("name", self.name()).finish_non_exhaustive()
    }
}

impl Workload {
    /// Loads, links and finishes a workload. `link` adds the imports that are not core; it is called
    /// once, with a linker that has the core interfaces.
    pub async fn prepare(
        engines: &Engines,
        spec: Spec,
        link: impl FnOnce(&mut Linker<State>, &Component) -> Result<(), BoxError>,
    ) -> Result<Self, PrepareError> {
        let loaded = Loaded::load(engines, spec).await?;
        let mut linker = loaded.linker()?;
        link(&mut linker, loaded.component()).map_err(|error| loaded.link_error(error))?;
        loaded.finish(&linker, Vec::new())
    }

    /// Its name.
    pub fn name(&self) -> &WorkloadName {
        &self.template.spec.name
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What it is.
    pub fn spec(&self) -> &Spec {
        &self.template.spec
    }

    /// What makes it run: HTTP where it answers that, else its command, else its providers.
    pub fn trigger(&self) -> Trigger {
        match (&self.http, &self.command, self.exports.as_slice()) {
            (Some(_), _, _) => Trigger::Http,
            (None, Some(_), _) => Trigger::Command,
            (None, None, [_, ..]) => Trigger::Calls,
            (None, None, []) => Trigger::None,
        }
    }

    /// Waits until none of its requests runs or waits to run, nor a guest runs behind its response.
    pub async fn finished(&self) {
        self.admission.finished().await;
    }

    /// Ends what [`Workload::finished`] would wait for behind responses, and idle instances, and waits
    /// for it: nothing of the workload runs then. Requests whose responses have not begun end when those
    /// who wait for them go.
    pub async fn end(&self) {
        self.stop.send_replace(true);
        self.instances.close();
        self.finished().await;
        self.instances.gone().await;
    }

    /// Waits until the workload was dropped, and with it what it held of its providers. Whoever ends one of its
    /// instances may hold it for a moment longer.
    pub fn dropped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.stop.subscribe();
        async move { while stop.changed().await.is_ok() {} }
    }

    /// Records how long a request took, from its arrival to the end of its response.
    pub fn took(&self, time: Duration) {
        self.meters.seconds.record(time);
    }

    /// Logs and counts that a request's body was too large. The client is at fault, not the guest.
    pub fn body_too_large(&self) {
        self.meters.hit("limits.request-body");
        let limit = self.spec().limits.request_body;
        tracing::info!(
            workload = %self.name(),
            "the body of a request is larger than its {limit} bytes (`limits.request-body`)"
        );
    }

    /// Logs and counts a bad end, wherever it shows.
    pub(super) fn report(&self, ended: &Ended) {
        self.meters.failed(ended);
        match ended {
            Ended::Refused(_) => {
                let workload = self.name();
                tracing::warn!(%workload, ended = ended.kind(), limit = ended.limit(), "{ended}");
            }
            // The instance's own line has the cause.
            Ended::With { .. } => {
                let workload = self.name();
                tracing::error!(%workload, ended = ended.kind(), limit = ended.limit(), "{ended}");
            }
            _ => self.log(ended),
        }
    }

    /// Logs a bad end with everything that is known of its cause.
    pub(super) fn log(&self, ended: &Ended) {
        let (workload, kind, limit) = (self.name(), ended.kind(), ended.limit());
        match ended.origin().cause() {
            Some(cause) => {
                tracing::error!(%workload, ended = kind, limit, "{ended}\n{cause:?}");
            }
            None => tracing::error!(%workload, ended = kind, limit, "{ended}"),
        }
    }
}
