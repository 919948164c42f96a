//! `wasi:keyvalue` for Backplane, in versions `0.2.0-draft` and `0.2.0-draft2` at once, on memory or a
//! redb file.
//!
//! [`store`] is what both versions say in common; [`backend`] is what keeps the data. Neither knows
//! WIT: `handlers` has one implementation for both versions, and `extension` the lifecycle.
//! `docs/keyvalue.md` has the config and the semantics.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod answer;
pub mod backend;
mod config;
mod counter;
mod cursor;
mod error;
mod extension;
mod handlers;
mod size;
pub mod store;

pub use answer::Answer;
pub use config::{
    Access, BackendKind, Config, DEFAULT_BUCKET, Grant, GrantWithAccess, Granted, LinkConfig,
};
pub use error::{ConfigError, Error};
pub use extension::{KeyValue, module};
pub use size::Size;
pub use store::Store;
