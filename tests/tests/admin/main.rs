//! The admin address of a real host: health, metrics, and what they say while the host starts, drains,
//! fails and is blocked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod address;
mod blocking;
mod metrics;
mod stopping;
mod support;
