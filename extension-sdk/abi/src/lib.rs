//! The stable ABI between the Backplane host and its native extensions.
//!
//! Both sides build this crate, each with its own compiler; `abi_stable` compares the layouts when
//! the library is opened and refuses another. What is here is small: what grows (functions, resources,
//! kinds of failure, functions of the host) is named by a number or a name inside a value, never by a
//! new slot. `abi_stable` refuses a library with fewer slots than the host has, on either side, so that
//! a slot more raises this crate's major version, as any other change does.
//!
//! Who frees what: memory is freed by the side that made it, through the function that travels with
//! it ([`Buffer`], `RString`, `FfiFuture`). Who may unwind: nobody. Every function here catches the
//! panics of its own side.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod buffer;
mod exchange;
mod host;
mod metadata;
mod module;
mod outcome;

pub use abi_stable;
pub use async_ffi;
pub use bytemuck;

pub use buffer::Buffer;
pub use exchange::Exchange;
pub use host::{
    HOST_EXPORTS, HOST_INTERFACE, HOST_STREAMS, HostApi, HostApiRef, HostContext, Level, LogRecord,
    MetricKind, STREAM_END, STREAM_FORGET, STREAM_MAKE, STREAM_READ, STREAM_WRITE,
};
pub use metadata::{METADATA_SECTION, WORLD_SECTION};
pub use module::{
    BindingPtr, CallContext, Description, ExtensionModule, ExtensionModuleRef, FunctionEntry,
    InstancePtr, ResourceEntry,
};
pub use outcome::{Failed, FailureCode, Finished, Outcome};

/// The version of this ABI, as stated in an extension's metadata.
pub const ABI_VERSION: &str = env!("CARGO_PKG_VERSION");
