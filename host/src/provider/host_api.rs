//! What the host answers to its native extensions.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use abi_stable::std_types::{RResult, RStr};
use async_ffi::{FfiFuture, FutureExt};
use backplane_abi::{
    Buffer, CallContext, Failed, FailureCode, Finished, HOST_EXPORTS, HOST_INTERFACE, HOST_STREAMS,
    HostApi, HostApiRef, HostContext, Level, LogRecord, MetricKind, STREAM_END, STREAM_FORGET,
    STREAM_MAKE, STREAM_READ, STREAM_WRITE,
};
use backplane_wire::{Form, from_slice, to_vec};
use tracing::level_filters::LevelFilter;

use super::Callbacks;
use crate::{boundary::streams::Streams, name::ProviderName};

/// The host's side of one instance. Never freed: the instance's threads may use it for ever.
pub(super) struct HostSide {
    name: ProviderName,
    /// Its bindings, by the number that `bind` was given.
    bindings: RwLock<HashMap<u64, Home>>,
}

/// What the host has for a binding.
#[derive(Clone)]
struct Home {
    callbacks: Arc<Callbacks>,
    streams: Arc<Streams>,
}

impl HostSide {
    /// That of an instance which is about to be created.
    pub(super) fn new(name: &ProviderName) -> &'static Self {
        Box::leak(Box::new(Self { name: name.clone(), bindings: RwLock::default() }))
    }

    pub(super) fn context(&'static self) -> HostContext {
        HostContext(std::ptr::from_ref(self).cast())
    }

    /// Lets the instance ask about a workload that is about to be bound to it.
    pub(super) fn begin(&'static self, callbacks: Arc<Callbacks>) -> BegunBinding {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let home = Home { callbacks, streams: Arc::default() };
        let streams = Arc::clone(&home.streams);
        self.bindings.write().unwrap_or_else(PoisonError::into_inner).insert(number, home);
        BegunBinding { side: self, number, streams }
    }

    fn home(&self, number: u64) -> Option<Home> {
        self.bindings.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }
}

/// A binding, for as long as its extension may ask the host about it.
pub(super) struct BegunBinding {
    side: &'static HostSide,
    number: u64,
    streams: Arc<Streams>,
}

impl BegunBinding {
    /// What it goes by.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The ends of streams that it has.
    pub(super) fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }
}

impl Drop for BegunBinding {
    fn drop(&mut self) {
        let ended = {
            let mut bindings = self.side.bindings.write().unwrap_or_else(PoisonError::into_inner);
            bindings.remove(&self.number)
        };
        // Outside of the lock: the ends of its streams wake others.
        drop(ended);
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
    let Some(Home { callbacks, streams }) = unsafe { side(host) }.home(workload) else {
        return at_once(Err(failed(FailureCode::UNAVAILABLE, "the workload is not bound")));
    };
    if context.form != 0 {
        let message = "a call into a workload takes its arguments in the local form";
        return at_once(Err(failed(FailureCode::BAD_ARGUMENTS, message)));
    }
    if interface.as_str() == HOST_STREAMS {
        return stream(&streams, function.as_str(), arguments, context);
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
        _ => Err(unknown(HOST_INTERFACE, function)),
    }
}

fn unknown(interface: &str, function: &str) -> Failed {
    let message = format!("this host has no function `{interface}#{function}`");
    failed(FailureCode::UNIMPLEMENTED, &message)
}

/// What the host does about an end of a stream.
fn stream(
    streams: &Arc<Streams>,
    function: &str,
    arguments: Buffer,
    context: &CallContext,
) -> FfiFuture<Finished> {
    let [handle, ..] = context.reserved;
    let had = |had: bool| if had { Ok(Buffer::new()) } else { Err(no_stream(handle)) };
    match function {
        STREAM_MAKE => at_once(Ok(to_vec(&streams.make(), Form::Local).into())),
        STREAM_READ => match streams.read(handle) {
            Some(channel) => async move {
                let read = poll_fn(|cx| channel.poll_read(cx)).await;
                finished(match read {
                    Ok(chunk) => Ok(chunk.unwrap_or_default()),
                    Err(cut) => Err(failed(FailureCode::UNAVAILABLE, &cut.to_string())),
                })
            }
            .into_ffi(),
            None => at_once(Err(no_stream(handle))),
        },
        STREAM_WRITE => match streams.write(handle) {
            Some(channel) => async move {
                let room = poll_fn(|cx| channel.poll_room(cx)).await;
                let written = room.and_then(|_| channel.write(arguments)).is_ok();
                finished(Ok(to_vec(&(written,), Form::Local).into()))
            }
            .into_ffi(),
            None => at_once(Err(no_stream(handle))),
        },
        STREAM_END => at_once(had(streams.end(handle))),
        STREAM_FORGET => at_once(had(streams.forget(handle))),
        _ => at_once(Err(unknown(HOST_STREAMS, function))),
    }
}

fn no_stream(handle: u64) -> Failed {
    let message = format!("the binding has no such end of a stream: {handle}");
    failed(FailureCode::BAD_ARGUMENTS, &message)
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
