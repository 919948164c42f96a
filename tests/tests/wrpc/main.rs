//! Servers over wRPC: against the stock server of the `wrpc-transport` crate, and against peers that do what no
//! server should.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod hostile;
mod program;
mod stock;
mod support;
