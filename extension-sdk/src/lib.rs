//! Write an interface once; run it as a native extension or a server.

extern crate self as backplane_sdk;

mod config;
mod context;
mod extension;
mod failure;
mod flags;
mod frame;
mod host;
mod log;
mod module;
mod panics;
mod resource;
mod runtime;
mod time;
mod world;

pub use backplane_abi as abi;
pub use backplane_macros::{config, export, generate};
pub use backplane_wire as wire;
pub use bytes::Bytes;
pub use schemars;
pub use serde;
pub use tracing;

pub use config::NoConfig;
pub use context::Context;
pub use extension::Extension;
pub use failure::{Failure, FailureKind};
pub use host::{Counter, Gauge, Histogram, Host, Workload};
pub use resource::{Borrow, Own, Resource};
pub use world::Encoded;

/// What the macros' code refers to. No part of the API.
#[doc(hidden)]
pub mod __private {
    pub use backplane_abi::{Buffer, CallContext, Outcome};

    pub use crate::{
        frame::answer,
        module::{BoundRef, Exported, array, concatenate, length, loaded_as_library, module},
        world::{
            Arguments, FunctionName, ResourceName, World, decode, decode_with_handles, encode,
            encode_with_handles, unimplemented,
        },
    };
}
