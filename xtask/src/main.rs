//! `cargo xtask`: every command of this repository.
//!
//! Must not depend on the host or on wasmtime, so that it builds in seconds.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod cargo;
mod command;
mod extension;
mod guests;
mod host;
mod http;
mod say;
mod sections;
mod tally;
mod usage;
mod wasmtime;
mod workspace;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{usage::UsageError, workspace::Workspace};

fn main() -> ExitCode {
    let arguments = command::Arguments::parse();
    let done = Workspace::load().and_then(|workspace| arguments.run(&workspace));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}
