//! The command line: what each command takes, prints and exits with.
//!
//! Exit codes: 0 for success, 1 for a failure, 2 for bad usage, configuration or input; `run` ends with
//! the guest's own.

#![forbid(unsafe_code)]

mod beside;
mod bug;
mod config;
pub mod extensions;
mod files;
pub mod flags;
mod host;
pub mod inspect;
mod output;
mod run;
mod runtime;
mod start;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::report::Report;
use flags::Global;

/// A small WebAssembly component host.
///
/// The host itself offers WASI, HTTP and configuration; every other interface is plugged in by
/// extensions. Settings come from backplane.toml, BACKPLANE_* variables and flags, the later over the
/// earlier; `backplane config` shows the result.
#[derive(Debug, Parser)]
#[command(name = "backplane", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one component: an HTTP service, or a command to its end
    Run(run::Run),
    /// Run the workloads of the configuration until a signal stops the host
    Host(host::Host),
    /// Show what a component imports and exports, and who would serve it; or what an extension offers
    Inspect(inspect::Inspect),
    /// List the extensions that were found: enabled, available, refused and why
    Extensions(extensions::Extensions),
    /// Show the merged configuration and where each value came from
    Config(config::Config),
}

/// The program: parses the command line, does what it says, reports what failed.
pub fn main() -> ExitCode {
    bug::guard(|| match Cli::try_parse() {
        Ok(cli) => cli.execute().unwrap_or_else(|report| {
            report.print();
            report.exit_code()
        }),
        Err(usage) => {
            // There is nobody left to tell if this cannot be printed.
            usage.print().ok();
            ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2))
        }
    })
}

impl Cli {
    fn execute(self) -> Result<ExitCode, Report> {
        match self.command {
            Command::Run(run) => run.execute(&self.global),
            Command::Host(host) => host.execute(&self.global),
            Command::Inspect(inspect) => inspect.execute(&self.global),
            Command::Extensions(extensions) => extensions.execute(&self.global),
            Command::Config(config) => config.execute(&self.global),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
