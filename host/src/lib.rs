//! Backplane: a small WebAssembly component host.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod boundary;
pub mod cli;
mod clock;
pub mod config;
pub mod control;
pub mod engine;
pub mod http;
pub mod metric;
pub mod name;
pub mod observe;
pub mod provider;
pub mod report;
pub mod trace;
pub mod watch;
pub mod workload;
