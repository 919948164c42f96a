//! What guests reach, and what they do not: outbound requests, sockets, names and files, with real
//! servers on loopback addresses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod attempts;
mod files;
mod limits;
mod outbound;
mod program;
mod rebinding;
mod server;
mod support;
mod tls;
