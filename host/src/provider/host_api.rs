//! What the host answers to its native extensions.

use abi_stable::std_types::{RResult, RStr};
use async_ffi::{FfiFuture, FutureExt};
use backplane_abi::{
    Buffer, CallContext, Failed, FailureCode, Finished, HostApi, HostApiRef, HostContext, Level,
    LogRecord, MetricKind,
};
use tracing::level_filters::LevelFilter;

use crate::name::ProviderName;

/// The host's side of one instance.
struct HostSide {
    name: ProviderName,
}

/// The host's functions.
pub(super) const API: HostApiRef = {
    const VALUE: &abi_stable::prefix_type::WithMetadata<HostApi> =
        &abi_stable::prefix_type::WithMetadata::new(HostApi { max_level, log, metric, invoke });
    HostApiRef(VALUE.static_as_prefix())
};

/// The context for an instance that is about to be created. Leaked: its threads may use it for ever.
pub(super) fn context(name: &ProviderName) -> HostContext {
    let side: &'static HostSide = Box::leak(Box::new(HostSide { name: name.clone() }));
    HostContext(std::ptr::from_ref(side).cast())
}

/// # Safety
///
/// `host` must come from [`context`].
unsafe fn side(host: HostContext) -> &'static HostSide {
    // SAFETY: `context` leaked a `HostSide`, and the caller passes on what it returned.
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
    _: HostContext,
    _: u64,
    interface: RStr<'_>,
    function: RStr<'_>,
    _: Buffer,
    _: &CallContext,
) -> FfiFuture<Finished> {
    let message =
        format!("this host does not call a workload's exports yet: `{interface}#{function}`");
    let failed = Failed { code: FailureCode::UNIMPLEMENTED, message: message.into() };
    std::future::ready(RResult::RErr(failed)).into_ffi()
}
