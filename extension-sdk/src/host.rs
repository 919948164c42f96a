//! What an extension may ask of the host.

use std::{fmt, sync::Arc};

use abi_stable::std_types::{RResult, RStr};
use async_ffi::FfiFuture;
use backplane_abi::{
    Buffer, CallContext, Finished, HOST_EXPORTS, HOST_INTERFACE, HostApiRef, HostContext,
    MetricKind,
};
use backplane_wire::{Decode, Encode, Form};
use futures::FutureExt as _;

use crate::{
    Failure, FailureKind,
    element::Element,
    failure::from_failed,
    future::{self, FutureReader, FutureWriter},
    resource::{Table, with_table},
    stream::{self, StreamReader, StreamWriter},
    world::FunctionName,
};

/// The host, as one extension instance sees it. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Host {
    context: HostContext,
    api: HostApiRef,
}

impl Host {
    pub(crate) fn new(context: HostContext, api: HostApiRef) -> Self {
        Self { context, api }
    }

    /// A counter of the host's metrics, under the extension's name.
    pub fn counter(&self, name: impl Into<Arc<str>>) -> Counter {
        Counter(Metric { host: *self, name: name.into() })
    }

    /// A gauge of the host's metrics, under the extension's name.
    pub fn gauge(&self, name: impl Into<Arc<str>>) -> Gauge {
        Gauge(Metric { host: *self, name: name.into() })
    }

    /// A histogram of the host's metrics, under the extension's name.
    pub fn histogram(&self, name: impl Into<Arc<str>>) -> Histogram {
        Histogram(Metric { host: *self, name: name.into() })
    }

    /// Whether both are the same instance.
    pub(crate) fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self.context.0, other.context.0)
    }

    pub(crate) fn max_level(&self) -> backplane_abi::Level {
        // SAFETY: the context came with this API, and lives as long as the instance.
        unsafe { self.api.max_level()(self.context) }
    }

    pub(crate) fn log(&self, record: &backplane_abi::LogRecord<'_>) {
        // SAFETY: as above.
        unsafe { self.api.log()(self.context, record) }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.context.0).finish()
    }
}

#[derive(Clone, Debug)]
struct Metric {
    host: Host,
    name: Arc<str>,
}

impl Metric {
    fn record(&self, kind: MetricKind, value: f64) {
        // SAFETY: the context came with this API, and lives as long as the instance.
        unsafe {
            self.host.api.metric()(self.host.context, kind, RStr::from_str(&self.name), value)
        }
    }
}

/// A number that only grows.
#[derive(Clone, Debug)]
pub struct Counter(Metric);

impl Counter {
    /// Adds to it.
    pub fn add(&self, value: u64) {
        self.0.record(MetricKind::Counter, value as f64);
    }
}

/// A number that goes up and down.
#[derive(Clone, Debug)]
pub struct Gauge(Metric);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.record(MetricKind::Gauge, value);
    }
}

/// A distribution of values.
#[derive(Clone, Debug)]
pub struct Histogram(Metric);

impl Histogram {
    /// Adds an observation.
    pub fn record(&self, value: f64) {
        self.0.record(MetricKind::Histogram, value);
    }
}

/// A binding as its host knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    id: u64,
    host: Host,
}

impl Home {
    /// Asks something of the host, or of the workload.
    pub(crate) fn ask(
        &self,
        interface: &str,
        function: &str,
        arguments: Buffer,
        call: &CallContext,
    ) -> FfiFuture<Finished> {
        let Host { context, api } = self.host;
        let (interface, function) = (RStr::from_str(interface), RStr::from_str(function));
        // SAFETY: the context came with this API, and lives as long as the instance.
        unsafe { api.invoke()(context, self.id, interface, function, arguments, call) }
    }
}

/// A workload that is bound to the extension. Cheap to clone.
#[derive(Clone)]
pub struct Workload {
    home: Home,
    name: Arc<str>,
    table: Arc<Table>,
}

impl Workload {
    pub(crate) fn new(id: u64, name: &str, host: Host) -> Self {
        let home = Home { id, host };
        Self { home, name: name.into(), table: Arc::new(Table::new(home)) }
    }

    /// The host's number for this binding of it, unique while the host runs.
    pub fn id(&self) -> u64 {
        self.home.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host it runs on.
    pub fn host(&self) -> &Host {
        &self.home.host
    }

    /// The resources that it holds.
    #[inline]
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// Whether the workload exports an interface, `ns:package/name@version` as the extension's world imports
    /// it. Known from `bind` on, where a link that needs it can be refused without.
    pub fn exports(&self, interface: &str) -> bool {
        // A host that does not know the function calls no exports; a workload that has ended has none.
        self.exported(interface).unwrap_or(false)
    }

    fn exported(&self, interface: &str) -> Result<bool, Failure> {
        let arguments = backplane_wire::to_vec(&(interface,), Form::Local);
        let answer = {
            let call = CallContext::default();
            self.home.ask(HOST_INTERFACE, HOST_EXPORTS, arguments.into(), &call)
        };
        let answer = answer.now_or_never().map(RResult::into_result);
        let answer = answer.ok_or_else(|| Failure::new("the host does not answer at once"))?;
        let (has,) = backplane_wire::from_slice(&answer.map_err(from_failed)?, Form::Local)?;
        Ok(has)
    }

    /// A new stream: the end to write, and the one to give to the workload.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the workload has ended, or the host makes no streams.
    pub fn stream<T: Element>(&self) -> Result<(StreamWriter<T>, StreamReader<T>), Failure> {
        stream::make(&self.home)
    }

    /// A new future: the end to write, and the one to give to the workload.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the workload has ended, or the host makes no futures.
    pub fn future<T: Encode + for<'a> Decode<'a>>(
        &self,
    ) -> Result<(FutureWriter<T>, FutureReader<T>), Failure> {
        future::make(&self.home)
    }

    /// Calls a function that the workload exports. `arguments` is a tuple of the parameters. The functions that
    /// [`generate!`](crate::generate) makes of the world's imports are this, with types. From within a call of
    /// the workload's, [`Context::invoke`](crate::Context::invoke) passes the deadline and the trace on.
    ///
    /// A workload that is starting is called when it is ready: in `bind`, do not wait for it.
    ///
    /// # Errors
    ///
    /// The [`Failure`] that the host reports, or one that says that the result is of another type.
    pub async fn invoke<R: for<'a> Decode<'a>>(
        &self,
        interface: &str,
        function: &str,
        arguments: &(impl Encode + Sync),
    ) -> Result<R, Failure> {
        invoke(self, interface, function, arguments, CallContext::default()).await
    }
}

impl fmt::Debug for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workload").field("id", &self.home.id).field("name", &self.name).finish()
    }
}

/// From where a workload's exports are called: from a call of its own, whose deadline, trace and depth go on,
/// or from nowhere in particular.
pub trait Caller: Sync + sealed::Sealed {
    /// The workload, and what a call of it carries.
    #[doc(hidden)]
    fn target(&self) -> (&Workload, CallContext);
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for Workload {}

impl Caller for Workload {
    fn target(&self) -> (&Workload, CallContext) {
        (self, CallContext::default())
    }
}

pub(crate) async fn invoke<R: for<'a> Decode<'a>>(
    workload: &Workload,
    interface: &str,
    function: &str,
    arguments: &(impl Encode + Sync),
    call: CallContext,
) -> Result<R, Failure> {
    let form = form(&call);
    // Resources among the arguments would be nobody's.
    if !workload.exported(interface)? {
        return Err(Failure::of(
            FailureKind::Unimplemented,
            format_args!(
                "the workload `{}` does not export `{interface}`, or the extension's world does not import it",
                workload.name()
            ),
        ));
    }
    let arguments = with_table(workload.table(), || backplane_wire::to_vec(arguments, form));
    let answer = workload.home.ask(interface, function, arguments.into(), &call);
    let result = answer.await.into_result().map_err(from_failed)?;
    with_table(workload.table(), || backplane_wire::from_slice(&result, form)).map_err(|error| {
        Failure::new(format_args!("result of `{interface}` function `{function}`: {error}"))
    })
}

/// What the generated functions call.
pub async fn call<R: for<'a> Decode<'a>>(
    caller: &impl Caller,
    function: &FunctionName,
    arguments: &(impl Encode + Sync),
) -> Result<R, Failure> {
    let (workload, call) = caller.target();
    invoke(workload, function.interface, function.name, arguments, call).await
}

/// How integers are written in a call.
#[inline]
pub(crate) fn form(call: &CallContext) -> Form {
    if call.form == 0 { Form::Local } else { Form::Wrpc }
}
