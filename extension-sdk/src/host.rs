//! What an extension may ask of the host.

use std::{fmt, sync::Arc};

use abi_stable::std_types::RStr;
use backplane_abi::{CallContext, HostApiRef, HostContext, MetricKind};
use backplane_wire::{Decode, Encode, Form};

use crate::{Failure, failure::from_failed};

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

/// A workload that is bound to the extension. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Workload {
    id: u64,
    name: Arc<str>,
    host: Host,
}

impl Workload {
    pub(crate) fn new(id: u64, name: &str, host: Host) -> Self {
        Self { id, name: name.into(), host }
    }

    /// The host's number for it, unique while the host runs.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host it runs on.
    pub fn host(&self) -> Host {
        self.host
    }

    /// Calls a function that the workload exports. `arguments` is a tuple of the parameters. From
    /// within a call of the workload's, [`Context::invoke`](crate::Context::invoke) passes the
    /// deadline and the trace on.
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

pub(crate) async fn invoke<R: for<'a> Decode<'a>>(
    workload: &Workload,
    interface: &str,
    function: &str,
    arguments: &(impl Encode + Sync),
    call: CallContext,
) -> Result<R, Failure> {
    let form = form(&call);
    let arguments = backplane_wire::to_vec(arguments, form);
    let host = workload.host;
    // SAFETY: the context came with this API, and lives as long as the instance.
    let answer = unsafe {
        host.api.invoke()(
            host.context,
            workload.id,
            RStr::from_str(interface),
            RStr::from_str(function),
            arguments.into(),
            &call,
        )
    };
    let result = answer.await.into_result().map_err(from_failed)?;
    backplane_wire::from_slice(&result, form).map_err(|error| {
        Failure::new(format_args!("result of `{interface}` function `{function}`: {error}"))
    })
}

/// How integers are written in a call.
#[inline]
pub(crate) fn form(call: &CallContext) -> Form {
    if call.form == 0 { Form::Local } else { Form::Wrpc }
}
