//! What is wrong ends with exit code 2 or a refusal, and a message that says what to do; and a guest
//! that misbehaves ends alone. Never a panic.
//!
//! Everything here goes through the program itself, with real files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod components;
mod folder;
mod guests;
mod libraries;
mod links;
mod listing;
mod start;
