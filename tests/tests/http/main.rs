//! HTTP through real sockets to real components: answers, bodies, routes, limits and the end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod admission;
mod answers;
mod commands;
mod components;
mod conformance;
mod faults;
mod grants;
mod http2;
mod instances;
mod limits;
mod observed;
mod program;
mod reuse;
mod stopping;
mod support;
mod tls;
mod trace;
