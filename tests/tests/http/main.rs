//! HTTP through real sockets to real components: answers, bodies, routes, limits and the end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
mod commands;
mod components;
mod grants;
mod limits;
mod observed;
mod stopping;
mod support;
