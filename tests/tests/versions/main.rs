//! Linking, by version, by type and by name: the program with the extension `keyvalue`, and components that
//! import one interface in two versions, with other types, or twice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod guest;
mod named;
mod together;
mod types;
