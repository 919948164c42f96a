//! Backplane: a small WebAssembly component host.

pub mod boundary;
pub mod name;
pub mod provider;
pub mod workload;
