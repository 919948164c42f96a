//! `backplane config`: the merged configuration.

use std::process::ExitCode;

use clap::Args;

use super::{flags::Global, output};
use crate::{config, report::Report};

#[derive(Debug, Args)]
pub(super) struct Config {
    /// Print JSON: the file, the values, and the origin of each
    #[arg(long)]
    json: bool,
    /// Print the JSON Schema of the configuration file instead, for editors
    #[arg(long, conflicts_with = "json")]
    schema: bool,
}

impl Config {
    pub(super) fn execute(self, global: &Global) -> Result<ExitCode, Report> {
        if self.schema {
            output::print_json(&config::Config::schema())?;
            return Ok(ExitCode::SUCCESS);
        }
        let config = global.load(Vec::new())?;
        if self.json {
            output::print_json(&config.to_json())?;
        } else {
            output::print(&config.to_toml())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
