//! The probe, linked statically and called through its module's function pointers.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod failures;
mod lifecycle;
mod resources;
#[path = "../support/mod.rs"]
mod support;
mod values;

use support::Loaded;

fn probe() -> Loaded {
    Loaded::new(probe::module(), "{}").unwrap()
}
