//! What the host answers to its native extensions.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use abi_stable::std_types::{RResult, RStr};
use async_ffi::{FfiFuture, FutureExt};
use backplane_abi::{
    Buffer, CallContext, Failed, FailureCode, Finished, HOST_EXPORTS, HOST_INTERFACE, HostApi,
    HostApiRef, HostContext, Level, LogRecord, MetricKind,
};
use backplane_wire::{Form, from_slice, to_vec};
use tracing::level_filters::LevelFilter;

use super::Callbacks;
use crate::name::ProviderName;

/// The host's side of one instance. Never freed: the instance's threads may use it for ever.
pub(super) struct HostSide {
    name: ProviderName,
    /// The workloads that it may call, by the number that `bind` was given.
    callable: RwLock<HashMap<u64, Arc<Callbacks>>>,
}

impl HostSide {
    /// That of an instance which is about to be created.
    pub(super) fn new(name: &ProviderName) -> &'static Self {
        Box::leak(Box::new(Self { name: name.clone(), callable: RwLock::default() }))
    }

    pub(super) fn context(&'static self) -> HostContext {
        HostContext(std::ptr::from_ref(self).cast())
    }

    /// Lets the instance call a workload that is about to be bound to it.
    pub(super) fn callable(&'static self, callbacks: Arc<Callbacks>) -> CallableWorkload {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut callable = self.callable.write().unwrap_or_else(PoisonError::into_inner);
        callable.insert(number, callbacks);
        CallableWorkload { side: self, number }
    }

    fn callbacks(&self, number: u64) -> Option<Arc<Callbacks>> {
        let callable = self.callable.read().unwrap_or_else(PoisonError::into_inner);
        callable.get(&number).cloned()
    }
}

/// A workload that an instance may call, as long as this lives.
pub(super) struct CallableWorkload {
    side: &'static HostSide,
    number: u64,
}

impl CallableWorkload {
    /// What it goes by.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for CallableWorkload {
    fn drop(&mut self) {
        let mut callable = self.side.callable.write().unwrap_or_else(PoisonError::into_inner);
        callable.remove(&self.number);
    }
}

/// The host's functions.
pub(super) const API: HostApiRef = {
    const VALUE: &abi_stable::prefix_type::WithMetadata<HostApi> =
        &abi_stable::prefix_type::WithMetadata::new(HostApi { max_level, log, metric, invoke });
    HostApiRef(VALUE.static_as_prefix())
};

/// # Safety
///
/// `host` must come from [`HostSide::context`].
unsafe fn side(host: HostContext) -> &'static HostSide {
    // SAFETY: `HostSide::new` leaked it, and the caller passes on the context that was made of it.
    unsafe { &*host.0.cast::<HostSide>() }
}

unsafe extern "C" fn max_level(_: HostContext) -> Level {
    match LevelFilter::current() {
        LevelFilter::OFF => Level::Off,
        LevelFilter::ERROR => Level::Error,
        LevelFilter::WARN => Level::Warn,
        LevelFilter::INFO => Level::Info,
        LevelFilter::DEBUG => Level::Debug,
        _ => Level::Trace,
    }
}

unsafe extern "C" fn log(host: HostContext, record: &LogRecord<'_>) {
    // SAFETY: the extension passes the context that `create` was given.
    let extension = unsafe { side(host) }.name.as_str();
    let module = record.target.as_str();
    let mut text = record.message.as_str().to_owned();
    for field in record.fields.iter() {
        text.push_str(&format!(" {}={}", field.0, field.1));
    }
    match record.level {
        Level::Off => {}
        Level::Error => tracing::error!(target: "extension", extension, module, "{text}"),
        Level::Warn => tracing::warn!(target: "extension", extension, module, "{text}"),
        Level::Info => tracing::info!(target: "extension", extension, module, "{text}"),
        Level::Debug => tracing::debug!(target: "extension", extension, module, "{text}"),
        Level::Trace => tracing::trace!(target: "extension", extension, module, "{text}"),
    }
}

unsafe extern "C" fn metric(host: HostContext, kind: MetricKind, name: RStr<'_>, value: f64) {
    // SAFETY: as in `log`.
    let extension = unsafe { side(host) }.name.to_string();
    let name = format!("backplane_extension_{name}");
    match kind {
        // A counter that goes down or by fractions is the extension's mistake; it counts as 0.
        MetricKind::Counter => {
            metrics::counter!(name, "extension" => extension).increment(value.max(0.0) as u64);
        }
        MetricKind::Gauge => metrics::gauge!(name, "extension" => extension).set(value),
        MetricKind::Histogram => {
            metrics::histogram!(name, "extension" => extension).record(value);
        }
    }
}

unsafe extern "C" fn invoke(
    host: HostContext,
    workload: u64,
    interface: RStr<'_>,
    function: RStr<'_>,
    arguments: Buffer,
    context: &CallContext,
) -> FfiFuture<Finished> {
    // SAFETY: as in `log`.
    let callbacks = unsafe { side(host) }.callbacks(workload);
    let Some(callbacks) = callbacks else {
        return at_once(Err(failed(FailureCode::UNAVAILABLE, "the workload is not bound")));
    };
    if context.form != 0 {
        let message = "a call into a workload takes its arguments in the local form";
        return at_once(Err(failed(FailureCode::BAD_ARGUMENTS, message)));
    }
    if interface.as_str() == HOST_INTERFACE {
        return at_once(answer(&callbacks, function.as_str(), &arguments));
    }
    let (interface, function, context) = (interface.to_string(), function.to_string(), *context);
    async move {
        let called = callbacks.call(interface, function, arguments, context).await;
        finished(called.map_err(|failure| failed(failure.kind.code(), &failure.message)))
    }
    .into_ffi()
}

/// What the host itself answers about a workload.
fn answer(callbacks: &Callbacks, function: &str, arguments: &[u8]) -> Result<Buffer, Failed> {
    match function {
        HOST_EXPORTS => match from_slice::<(&str,)>(arguments, Form::Local) {
            Ok((interface,)) => Ok(to_vec(&(callbacks.has(interface),), Form::Local).into()),
            Err(error) => Err(failed(FailureCode::BAD_ARGUMENTS, &error.to_string())),
        },
        _ => {
            let message = format!("this host has no function `{HOST_INTERFACE}#{function}`");
            Err(failed(FailureCode::UNIMPLEMENTED, &message))
        }
    }
}

fn at_once(answer: Result<Buffer, Failed>) -> FfiFuture<Finished> {
    std::future::ready(finished(answer)).into_ffi()
}

fn finished(answer: Result<Buffer, Failed>) -> Finished {
    match answer {
        Ok(results) => RResult::ROk(results),
        Err(failed) => RResult::RErr(failed),
    }
}

fn failed(code: u32, message: &str) -> Failed {
    Failed { code, message: message.into() }
}
