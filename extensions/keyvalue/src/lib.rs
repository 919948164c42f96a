//! `wasi:keyvalue` for Backplane, in versions `0.2.0-draft` and `0.2.0-draft2` at once, on memory or a
//! redb file.
//!
//! [`store`] is what both versions say in common; [`backend`] is what keeps the data. Neither knows
//! WIT. `docs/keyvalue.md` has the config and the semantics.

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
pub mod store;

pub use answer::Answer;
pub use config::{
    Access, BackendKind, Config, DEFAULT_BUCKET, Grant, GrantWithAccess, Granted, LinkConfig,
};
pub use error::{ConfigError, Error};
pub use store::Store;
