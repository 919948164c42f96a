//! `backplane-bench`: benchmarks as ratios against a baseline in the same run.
//!
//! `cargo xtask bench NAME` builds what a benchmark needs and runs it. Each prints a table, writes its
//! rows as JSON where asked to, and ends with 1 when a row is missing or misses its target.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod boundary;
mod http;
mod measure;
mod row;
mod server;
mod start;
mod wire;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, anyhow};
use clap::{Parser, Subcommand};

use row::{Report, Row};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs a benchmark
#[derive(Debug, Parser)]
#[command(name = "backplane-bench")]
struct Arguments {
    /// Writes the rows to this file, as a JSON array
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Runs only the cases whose name has all of these words; their rows alone are then expected
    #[arg(long, global = true, value_name = "TEXT")]
    only: Option<String>,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// A call of an import: a native extension against functions compiled in, and against `Val`
    Boundary(boundary::Arguments),
    /// A request over HTTP: `backplane host` against `wasmtime serve` and a plain hyper server
    Http(http::Arguments),
    /// The plain hyper server
    #[command(hide = true)]
    HyperHello(http::hello::Arguments),
    /// From a process's start to its first response, and after it was left alone
    Start(start::Arguments),
    /// Encoding and decoding lists of integers: the local form against wRPC's
    Wire,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let only = arguments.only.as_deref().unwrap_or("");
    let report = match &arguments.bench {
        Bench::Boundary(bench) => {
            boundary::run(bench, only).map_err(|error| anyhow!("{error:?}"))?
        }
        Bench::Http(bench) => http::run(bench, only)?,
        Bench::HyperHello(server) => return http::hello::run(server).map(|()| true),
        Bench::Start(bench) => start::run(bench, only)?,
        Bench::Wire => wire::run(only)?,
    };
    let Report { rows, problems } = &report;
    println!("{}", row::table(rows));
    if let Some(file) = &arguments.json {
        write_json(rows, file)?;
    }
    for problem in problems {
        println!("FAILED: {problem}");
    }
    if problems.is_empty() {
        println!("every row is there and meets its target");
    }
    Ok(problems.is_empty())
}

fn write_json(rows: &[Row], file: &PathBuf) -> Result<()> {
    let json = serde_json::to_string_pretty(rows)?;
    std::fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))
}
