//! Backplane: a small WebAssembly component host.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod boundary;
pub mod engine;
pub mod http;
pub mod name;
pub mod provider;
pub mod workload;
