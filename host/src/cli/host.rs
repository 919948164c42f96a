//! `backplane host`: runs the workloads of the configuration until a signal stops it.

use std::{num::NonZero, process::ExitCode, sync::Arc};

use clap::Args;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{
    beside::Beside,
    flags::{Global, Hosting},
    runtime, start,
};
use crate::{
    config::Config,
    control,
    report::Report,
    workload::{Workload, spec::Spec},
};

#[derive(Debug, Args)]
pub(super) struct Host {
    #[command(flatten)]
    hosting: Hosting,
}

impl Host {
    pub(super) fn execute(self, global: &Global) -> Result<ExitCode, Report> {
        let begun = Beside::begin()?;
        let config = global.load(self.hosting.settings())?;
        let mut beside = Beside::start(&config, begun)?;
        runtime::block_on(async {
            beside.watch(&config)?;
            serve(config, &beside).await
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Loads the enabled extensions, starts every workload and serves until SIGTERM or SIGINT, then drains
/// within `config.shutdown_deadline`. Nothing starts if anything is wrong.
async fn serve(mut config: Config, beside: &Beside) -> Result<(), Report> {
    let specs = std::mem::take(&mut config.workloads);
    let host = start::host(&config).await?;
    if specs.is_empty() {
        // No component makes them: whether they can be made is known at the start all the same.
        host.make_engines().await.map_err(|error| start::report(&config, error))?;
    }
    // Several at once, for each has files to wait for and much of it is one thread's work; in order, so that
    // of several errors the same one is told.
    let at_once = std::thread::available_parallelism().map_or(1, NonZero::get);
    let workloads = stream::iter(specs.into_iter().map(|spec| workload(&config, &host, spec)))
        .buffered(at_once)
        .try_collect::<Vec<_>>()
        .await?;
    start::serve(&config, beside, host, workloads).await
}

async fn workload(
    config: &Config,
    host: &control::Host,
    spec: Spec,
) -> Result<Arc<Workload>, Report> {
    let prepared = async { host.prepare(host.load(spec).await?).await };
    prepared.await.map_err(|error| start::report(config, error))
}
