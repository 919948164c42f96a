//! The commands, one a file.

mod bench;
mod build_components;
mod build_extension;
mod ci;
mod demo;
mod fuzz;
mod instructions;
mod lint;
mod miri;
mod test;

use std::path::PathBuf;

use anyhow::Result;
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::workspace::Workspace;

/// Every command of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build and run the counter: a component that keeps its state in an extension
    Demo {
        /// Start, count, stop and start again without anybody watching
        #[arg(long)]
        check: bool,
    },
    /// Run the tests; ends with `N passed, M failed`
    Test {
        /// A package (`host`, `sdk`, `wire`, `keyvalue`, `tests` ...), an integration test (`boundary`,
        /// `http`, `egress` ...) or a part of a test's name
        name: Option<String>,
    },
    /// Check format, lints, documentation and dependencies
    Lint,
    /// Run the SDK's tests in Miri, which finds undefined behaviour; ends with `N passed, M failed`
    Miri,
    /// Run the fuzz targets; ends with how many inputs were tried
    Fuzz {
        /// Which one; else all
        name: Option<String>,
        /// How long each is run
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u32,
    },
    /// Count the instructions of calls in valgrind, and hold them against what they were
    Instructions {
        /// Keep what is counted
        #[arg(long)]
        update: bool,
    },
    /// Run a benchmark in the release profile
    Bench {
        /// Which one
        name: String,
        /// Write the rows to this file, too
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// For the benchmark itself
        #[arg(last = true)]
        rest: Vec<String>,
    },
    /// Build an extension, check it, load it, and put it into the plugins folder
    BuildExtension {
        /// Its folder under extensions/ or tests/extensions/
        name: String,
        /// Build it optimised
        #[arg(long)]
        release: bool,
        /// The plugins folder; `plugins/` in this repository unless told
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Build the guest components of the examples and the tests
    BuildComponents,
    /// Do what `.ci/run` does: lint, Miri, fuzz, count instructions, test
    Ci,
}

impl Arguments {
    /// Runs the command; with none, lists them.
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        let Some(task) = self.task else {
            Self::command().print_help()?;
            return Ok(());
        };
        match task {
            Task::Demo { check } => demo::run(workspace, check),
            Task::Test { name } => test::run(workspace, name.as_deref()),
            Task::Lint => lint::run(workspace),
            Task::Miri => miri::run(workspace),
            Task::Fuzz { name, seconds } => fuzz::run(workspace, name.as_deref(), seconds),
            Task::Instructions { update } => instructions::run(workspace, update),
            Task::Bench { name, json, rest } => {
                bench::run(workspace, &name, json.as_deref(), &rest)
            }
            Task::BuildExtension { name, release, out } => {
                build_extension::run(workspace, &name, release, out.as_deref())
            }
            Task::BuildComponents => build_components::run(workspace),
            Task::Ci => ci::run(workspace),
        }
    }
}
