//! Sequences of calls of an extension with arbitrary arguments, resources among them that it has given out before:
//! each is answered or refused, and none makes it panic.

#![no_main]
#![allow(missing_docs, reason = "the macro's items")]
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a panic is how a finding is told")]

use std::{
    pin::Pin,
    sync::LazyLock,
    task::{Context, Waker},
};

use backplane_abi::{
    Buffer, CallContext, Exchange, ExtensionModuleRef, Failed, FailureCode, Finished, HostApi,
    HostApiRef, HostContext, InstancePtr, Level, LogRecord, MetricKind, Outcome,
    abi_stable::{
        prefix_type::PrefixTypeTrait as _,
        std_types::{RErr, RStr},
    },
    async_ffi::{FfiFuture, FutureExt as _},
};
use libfuzzer_sys::fuzz_target;

unsafe extern "C" fn max_level(_: HostContext) -> Level {
    Level::Off
}

unsafe extern "C" fn log(_: HostContext, _: &LogRecord<'_>) {}

unsafe extern "C" fn metric(_: HostContext, _: MetricKind, _: RStr<'_>, _: f64) {}

unsafe extern "C" fn invoke(
    _: HostContext,
    _: u64,
    _: RStr<'_>,
    _: RStr<'_>,
    _: Buffer,
    _: &CallContext,
) -> FfiFuture<Finished> {
    let failed = Failed { code: FailureCode::UNIMPLEMENTED, message: "not here".into() };
    std::future::ready(RErr(failed)).into_ffi()
}

/// The extension, and the functions of it that are called: not those that are there to misbehave.
struct Extension {
    module: ExtensionModuleRef,
    instance: InstancePtr,
    functions: Vec<u32>,
}

static EXTENSION: LazyLock<Extension> = LazyLock::new(|| {
    let module = probe::module();
    let description = module.describe()();
    let is_called = |interface: &str, name: &str| {
        let calls = ["echo@", "resources@", "calls@", "concurrent@", "streams@"];
        // Or make as many of something as they are told.
        let misbehaves =
            ["panic", "sleep", "bomb", "many", "found", "fail", "later", "pending", "written"];
        calls.iter().any(|part| interface.contains(part))
            && !misbehaves.iter().any(|part| name.contains(part))
    };
    let functions = (0_u32..).zip(&description.functions);
    let functions = functions
        .filter(|(_, entry)| is_called(&entry.interface, &entry.name))
        .map(|(number, _)| number);
    let functions = functions.collect();
    let api: HostApiRef = HostApi { max_level, log, metric, invoke }.leak_into_prefix();
    // SAFETY: none of the host's functions looks at the context.
    let created = unsafe { module.create()(HostContext(std::ptr::null()), api, "{}".into()) };
    let instance = created.into_result().unwrap_or_else(|failed| panic!("{}", failed.message));
    Extension { module, instance, functions }
});

fuzz_target!(|bytes: &[u8]| {
    let Extension { module, instance, functions } = &*EXTENSION;
    // SAFETY: the instance is alive for ever.
    let bound = unsafe { module.bind()(*instance, 7, "fuzz".into(), "{}".into()) };
    let Ok(binding) = bound.into_result() else { panic!("no binding") };
    let mut handles = Vec::<u8>::new();
    let mut rest = bytes;
    while let [function, length, tail @ ..] = rest {
        let (arguments, tail) = tail.split_at_checked((*length).into()).unwrap_or((tail, &[]));
        rest = tail;
        let Some(function) = functions.get(usize::from(*function) % functions.len()) else { break };
        // A byte of 0xfe stands for a handle that was answered before.
        let mut message = Vec::new();
        let known: Vec<_> = handles.chunks_exact(9).collect();
        for (at, byte) in arguments.iter().enumerate() {
            match known.get((at + usize::from(*length)) % known.len().max(1)) {
                Some(handle) if *byte == 0xfe => message.extend_from_slice(handle),
                _ => message.push(*byte),
            }
        }
        let mut exchange = Exchange { arguments: message.into(), results: Buffer::new() };
        // SAFETY: the binding is alive, and so are the context and the exchange during the call.
        let outcome =
            unsafe { module.call()(binding, *function, &CallContext::default(), &mut exchange) };
        let failed = match outcome {
            Outcome::Ready => {
                if let Some(answer) = exchange.results.get(..9).filter(|answer| answer[0] == 8) {
                    handles.extend_from_slice(answer);
                }
                None
            }
            Outcome::Failed(failed) => Some(failed),
            // Cancelled after its first poll.
            Outcome::Pending(mut future) => {
                let polled = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()));
                drop(polled);
                None
            }
        };
        if let Some(failed) = failed {
            assert_ne!(failed.code, FailureCode::PANICKED, "{}", failed.message);
        }
    }
    // SAFETY: nothing uses the binding any more.
    unsafe { module.unbind()(binding) }
});
