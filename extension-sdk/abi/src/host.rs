//! What an extension may ask of the host.

use abi_stable::{
    StableAbi,
    std_types::{RSlice, RStr},
};
use async_ffi::FfiFuture;

use crate::{Buffer, CallContext, Finished};

/// The host's side of one extension instance; the host alone knows what it points to. Valid from
/// `create` until `shutdown` has returned and every binding, future and thread of the instance is
/// gone; the host never frees it earlier.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct HostContext(pub *const ());

// SAFETY: the host's functions below may be called from any thread, at the same time.
unsafe impl Send for HostContext {}
// SAFETY: as above.
unsafe impl Sync for HostContext {}

/// The host's functions, given to `create`. Each may be called from any thread and does not unwind.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = HostApiRef)))]
#[sabi(missing_field(option))]
pub struct HostApi {
    /// The most verbose level that the host keeps, so that an extension need not format what nobody
    /// reads. May change while the host runs.
    pub max_level: unsafe extern "C" fn(host: HostContext) -> Level,
    /// Adds a line to the host's log, under the extension's name.
    pub log: unsafe extern "C" fn(host: HostContext, record: &LogRecord<'_>),
    /// Adds to a counter, sets a gauge or records a value, under the extension's name.
    pub metric:
        unsafe extern "C" fn(host: HostContext, kind: MetricKind, name: RStr<'_>, value: f64),
    /// Calls a function that a bound workload exports. `workload` is the number that `bind` was given;
    /// `interface` one that the extension's world imports, by the name that it has there. Resources among
    /// the arguments are the workload's from here on, whatever comes of the call. A workload that is still
    /// starting is called when it is ready; dropping the future cancels the call.
    #[sabi(last_prefix_field)]
    pub invoke: unsafe extern "C" fn(
        host: HostContext,
        workload: u64,
        interface: RStr<'_>,
        function: RStr<'_>,
        arguments: Buffer,
        context: &CallContext,
    ) -> FfiFuture<Finished>,
}

/// The interface of the host's own functions: called by `invoke` like a workload's, of the workload that they are
/// about. What the host answers grows here, for a host knows no more slots than each extension was built with. A
/// name that it does not know is [`FailureCode::UNIMPLEMENTED`](crate::FailureCode::UNIMPLEMENTED).
pub const HOST_INTERFACE: &str = "backplane:host/workload@1.0.0";

/// `exports: func(interface: string) -> bool`: whether the workload, bound or about to be, exports an interface
/// that the extension's world imports by that name. Answers at once.
pub const HOST_EXPORTS: &str = "exports";

/// The interface of the host's functions about the ends of streams that a binding has. The end is named by its
/// handle, in the first word of [`CallContext::reserved`]; one that the binding does not have is
/// [`FailureCode::BAD_ARGUMENTS`](crate::FailureCode::BAD_ARGUMENTS).
///
/// A stream crosses as a handle: in a message to the binding it is an end to read, which is the binding's from then
/// on; in one from it, an end to read that it gives away. What an end carries are chunks: the elements one after
/// another, each in its bytes as the local form has them, never a part of one.
pub const HOST_STREAMS: &str = "backplane:host/streams@1.0.0";

/// `make: func() -> tuple<u64, u64>`: a new stream of the binding's own, as the end to write and the one to read.
/// Answers at once.
pub const STREAM_MAKE: &str = "make";

/// Reads the next chunk: the result is its bytes, with nothing around them, and empty at the end of the stream.
/// Fails with [`FailureCode::UNAVAILABLE`](crate::FailureCode::UNAVAILABLE) where the writer ended early.
pub const STREAM_READ: &str = "read";

/// Writes a chunk, which is all of the arguments, when there is room. The result is a `bool`: false where nobody
/// reads any more, and the chunk is gone.
pub const STREAM_WRITE: &str = "write";

/// Ends what the binding writes: that was all of it. Answers at once.
pub const STREAM_END: &str = "end";

/// Gives up an end: the binding reads no more, or cuts what it writes. Answers at once. The ends that a binding has
/// left are given up when it ends.
pub const STREAM_FORGET: &str = "forget";

/// How much a log line matters.
#[repr(u8)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing is kept.
    Off,
    /// Something failed.
    Error,
    /// Something may fail.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// What a metric's value does.
#[repr(u8)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Is added to a counter.
    Counter,
    /// Replaces the value of a gauge.
    Gauge,
    /// Is one observation of a histogram.
    Histogram,
}

/// One line of the log.
#[repr(C)]
#[derive(StableAbi)]
pub struct LogRecord<'a> {
    /// How much it matters.
    pub level: Level,
    /// The module that wrote it.
    pub target: RStr<'a>,
    /// The message.
    pub message: RStr<'a>,
    /// Names and values besides the message, in order.
    pub fields: RSlice<'a, abi_stable::std_types::Tuple2<RStr<'a>, RStr<'a>>>,
}
