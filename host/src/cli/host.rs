//! `backplane host`: runs the workloads of the configuration until a signal stops it.

use std::process::ExitCode;

use clap::Args;

use super::{
    flags::{Global, Hosting},
    runtime,
};
use crate::{
    config::Config,
    observe::{self, metrics::Metrics},
    report::Report,
};

#[derive(Debug, Args)]
pub(super) struct Host {
    #[command(flatten)]
    hosting: Hosting,
}

impl Host {
    pub(super) fn execute(self, global: &Global) -> Result<ExitCode, Report> {
        let config = global.load(self.hosting.settings())?;
        let metrics = observe::start(&config.log)
            .map_err(|error| Report::failure("the host cannot start").caused_by(error))?;
        runtime::block_on(async {
            tokio::spawn(metrics.clone().keep_up());
            serve(config, metrics).await
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Loads the enabled extensions, starts every workload and serves until SIGTERM or SIGINT, then drains
/// within `config.shutdown_deadline`. Nothing starts if anything is wrong.
async fn serve(config: Config, metrics: Metrics) -> Result<(), Report> {
    drop((config, metrics));
    Err(Report::failure("not wired"))
}
