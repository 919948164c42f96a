//! Write an interface once; run it as a native extension or a server.
//!
//! An extension answers the calls that workloads make on its interfaces. Its author writes a WIT
//! world, the handlers for what the world exports, and a lifecycle; [`generate!`] makes the types and
//! the handler traits, [`export!`] makes the crate an extension. What crosses the boundary, on which
//! thread, and what happens after a panic is this crate's business, and none of the author's.
//!
//! # A whole extension
//!
//! `Cargo.toml` has `crate-type = ["cdylib", "rlib"]` and a feature `static = []`, and this is
//! `src/lib.rs`:
//!
//! ```
//! use std::{collections::HashMap, sync::{Mutex, MutexGuard, PoisonError}};
//!
//! use backplane_sdk::{Context, Extension, Failure, Host, Own, Workload};
//! use bindings::acme::tally::counters::{self, Error};
//!
//! mod bindings {
//!     backplane_sdk::generate!({
//!         // As a rule `path: "wit"`, a folder.
//!         inline: "
//!             package acme:tally@1.0.0;
//!
//!             interface counters {
//!                 enum error { overflow }
//!
//!                 resource counter {
//!                     constructor(name: string);
//!                     add: func(amount: u64) -> result<u64, error>;
//!                 }
//!
//!                 names: func(prefix: option<string>) -> list<string>;
//!             }
//!
//!             world provider {
//!                 export counters;
//!             }
//!         ",
//!         resources: { "acme:tally/counters/counter": crate::Counter },
//!     });
//! }
//!
//! /// What stands under the extension's name in the host's config.
//! #[backplane_sdk::config]
//! pub struct Config {
//!     /// The highest that a counter goes.
//!     #[serde(default = "highest")]
//!     limit: u64,
//! }
//!
//! fn highest() -> u64 {
//!     u64::MAX
//! }
//!
//! /// What a workload's link says.
//! #[backplane_sdk::config]
//! #[derive(Default)]
//! #[serde(default)]
//! pub struct LinkConfig {
//!     /// Put before the name of every counter.
//!     prefix: String,
//! }
//!
//! pub struct Tally {
//!     limit: u64,
//! }
//!
//! /// One workload's counters.
//! pub struct Binding {
//!     limit: u64,
//!     prefix: String,
//!     counts: Mutex<HashMap<String, u64>>,
//! }
//!
//! /// What is behind a `counter` that a workload holds.
//! pub struct Counter {
//!     name: String,
//! }
//!
//! impl Extension for Tally {
//!     type Config = Config;
//!     type BindingConfig = LinkConfig;
//!     type Binding = Binding;
//!
//!     async fn create(config: Config, _: Host) -> Result<Self, Failure> {
//!         Ok(Self { limit: config.limit })
//!     }
//!
//!     async fn bind(&self, _: Workload, config: LinkConfig) -> Result<Binding, Failure> {
//!         Ok(Binding { limit: self.limit, prefix: config.prefix, counts: Mutex::default() })
//!     }
//! }
//!
//! impl Binding {
//!     fn counts(&self) -> MutexGuard<'_, HashMap<String, u64>> {
//!         self.counts.lock().unwrap_or_else(PoisonError::into_inner)
//!     }
//! }
//!
//! impl counters::Handler for Binding {
//!     async fn counter_new(&self, cx: &Context, name: &str) -> Result<Own<counters::Counter>, Failure> {
//!         Ok(cx.own(Counter { name: format!("{}{name}", self.prefix) }))
//!     }
//!
//!     async fn counter_add(
//!         &self,
//!         _: &Context,
//!         this: &Counter,
//!         amount: u64,
//!     ) -> Result<Result<u64, Error>, Failure> {
//!         let mut counts = self.counts();
//!         let count = counts.entry(this.name.clone()).or_default();
//!         match count.checked_add(amount).filter(|sum| *sum <= self.limit) {
//!             Some(sum) => {
//!                 *count = sum;
//!                 Ok(Ok(sum))
//!             }
//!             // The interface has a case for it, so it is a result and no `Failure`.
//!             None => Ok(Err(Error::Overflow)),
//!         }
//!     }
//!
//!     async fn names(&self, _: &Context, prefix: Option<&str>) -> Result<Vec<String>, Failure> {
//!         let counts = self.counts();
//!         let names = counts.keys().filter(|name| name.starts_with(prefix.unwrap_or_default()));
//!         Ok(names.cloned().collect())
//!     }
//! }
//!
//! backplane_sdk::export! {
//!     name: "tally",
//!     extension: Tally,
//!     world: bindings::World,
//! }
//! # fn main() {
//! #     assert_eq!(module().describe()().functions.len(), 3);
//! # }
//! ```
//!
//! # WIT in Rust
//!
//! | WIT | Rust, in a result or inside a named type | as a parameter |
//! |---|---|---|
//! | `bool`, `u8` ... `s64`, `f32`, `f64`, `char` | `bool`, `u8` ... `i64`, `f32`, `f64`, `char` | the same |
//! | `string` | `String` | `&str` |
//! | `list<u8>` | [`Bytes`] | `&[u8]`, or [`Bytes`] with `bytes: "owned"` |
//! | `list<T>` | `Vec<T>`; [`List<T>`](List) for a result that is a list of `u16` ... `f64` | `Vec<T>`, its strings borrowed; [`List<T>`](List) for a list of `u16` ... `f64` that is the only parameter |
//! | `option`, `result`, `tuple` | `Option`, `Result`, a tuple; `()` for what is absent | the same, their strings borrowed |
//! | `record`, `variant`, `enum`, `flags` | a type of that name | the same type, owned |
//! | `own<r>` | [`Own<R>`](Own) | `Arc<R::Rep>`; [`Own<R>`](Own) inside of another type |
//! | `borrow<r>`, a method's `self` | | `&R::Rep`; [`Borrow<R>`](Borrow) inside of another type |
//! | `stream<T>` | [`StreamReader<T>`](StreamReader), of [`Context::stream`] | the same |
//! | `future<T>`, `future` | [`FutureReader<T>`](FutureReader), of [`Context::future`]; of `()` | the same |
//! | `own<input-stream>`, `own<output-stream>` of `wasi:io` | [`StreamReader<u8>`](StreamReader), [`StreamWriter<u8>`](StreamWriter) | the same |
//!
//! What a stream or a future is of has no resources, streams and futures in it.
//!
//! `Bytes` taken from arguments of a kibibyte and more share the argument buffer: nothing is copied.
//!
//! An interface `ns:package/name` is the module `ns::package::name`, or `ns::package0_2_0_draft::name`
//! where the world has several versions of a package. Its functions are the trait `Handler` there:
//! `name` for a function, `resource_name` for a method or a static function, `resource_new` for a
//! constructor (`resource_constructor` where the resource also has a function `new`).
//!
//! # Calls into a workload
//!
//! What the world *imports* are the interfaces that the extension calls of a workload: a broker its handler, a
//! watcher its watches. Whether a workload exports one, with the very types, is checked when it is linked;
//! [`Workload::exports`] says so from `bind` on. Each function becomes one of that name in the interface's
//! module, whose first parameter says from where it is called: a [`Context`], so that the deadline, the trace
//! and the depth of that call go on, or a [`Workload`], from a task of the extension's own. `is_exported_by`
//! in the same module asks whether it can be called.
//!
//! The workload's limits, deadline and concurrency hold as for HTTP: a call waits for its turn, and fails
//! where too many wait. A guest that traps is a [`Failure`] too. Dropping the future cancels the call.
//!
//! # How a call runs
//!
//! A handler is first polled on the thread of the calling guest. If its answer is at hand, no future
//! is made, nothing is spawned and no thread is changed. Otherwise the host polls it on the guest's
//! task, each time inside of the extension's own tokio runtime, so that timers, sockets, `spawn` and
//! `spawn_blocking` work; dropping it cancels the call. The first poll's waker wakes nobody, and the
//! host polls again at once: a future that keeps an older waker than that of its last poll would wait
//! for ever, here as anywhere. A handler must not block; `spawn_blocking` may.
//!
//! The binding is shared by all instances of its workload, which call it at the same time.
//!
//! # Rules
//!
//! - What the interface has an error for is a result; a [`Failure`] is for what it has none for.
//! - A panic in a handler, a destructor or the lifecycle becomes a [`Failure`]. Panics unwind: an
//!   extension built with `panic = "abort"` is refused.
//! - Log with [`tracing`]: the lines go to the host's log under the extension's name.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

extern crate self as backplane_sdk;

mod config;
mod context;
mod element;
mod end;
mod extension;
mod failure;
mod flags;
mod frame;
mod future;
mod host;
mod list;
mod local;
mod log;
mod module;
mod panics;
mod resource;
mod runtime;
mod stream;
mod time;
mod world;

pub use backplane_abi as abi;
pub use backplane_macros::{config, export, generate};
pub use backplane_wire as wire;
pub use bytes::Bytes;
pub use schemars;
pub use serde;
pub use tokio;
pub use tracing;

pub use config::NoConfig;
pub use context::Context;
pub use element::Element;
pub use extension::Extension;
pub use failure::{Failure, FailureKind};
pub use future::{FutureReader, FutureWriter};
pub use host::{Caller, Counter, Gauge, Histogram, Host, Workload};
pub use list::{List, Number};
pub use resource::{Borrow, Own, Resource};
pub use stream::{StreamReader, StreamWriter};
pub use world::Encoded;

/// What the macros' code refers to. No part of the API.
#[doc(hidden)]
pub mod __private {
    pub use backplane_abi::{CallContext, Exchange, Outcome};

    pub use crate::{
        element::{from_values, values},
        frame::answer,
        host::call,
        module::{BoundRef, Exported, array, concatenate, length, loaded_as_library, module},
        world::{
            FunctionName, ResourceName, World, decode, decode_list, decode_with_handles, encode,
            encode_list, encode_with_handles, share, unimplemented,
        },
    };
}
