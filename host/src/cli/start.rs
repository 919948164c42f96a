//! What `host`, `run` and `inspect` have in common: a host from the configuration, and its errors.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::future::{join, join_all};
use tokio::time::{sleep, timeout};

use super::{beside::Beside, files};
use crate::{
    config::Config,
    control::{ControlError, Host, Settings},
    http::{Router, Server, Serving, Tls, signal::Signal},
    observe,
    provider::set::Enabled,
    report::Report,
    workload::Workload,
};

/// How long a stop waits for who still holds a workload that has ended: tasks of its instances that are about
/// to be gone.
const LAST: Duration = Duration::from_secs(1);

/// Starts the log of a command that only looks at things: it may have to warn.
pub(super) fn log(config: &Config) -> Result<(), Report> {
    observe::start_log(&config.log)
        .map_err(|error| Report::failure("the log cannot be started").caused_by(error))
}

/// A host with the extensions that the configuration enables.
pub(super) async fn host(config: &Config) -> Result<Host, Report> {
    Host::start(settings(config)).await.map_err(|error| report(config, error))
}

/// A host that knows those extensions and runs none of their code.
pub(super) async fn look(config: &Config) -> Result<Host, Report> {
    Host::look(settings(config)).await.map_err(|error| report(config, error))
}

fn settings(config: &Config) -> Settings {
    let enable = config.extensions.iter().filter(|(_, extension)| extension.enabled);
    Settings {
        data: config.data.clone(),
        plugins: config.plugins.clone(),
        enable: enable
            .map(|(name, extension)| Enabled {
                name: name.clone(),
                file: extension.file.clone(),
                digest: extension.digest,
                config: extension.config.clone(),
                sandbox_key: extension.sandbox_key,
            })
            .collect(),
        servers: config.servers.clone(),
        sandboxes: config
            .enabled()
            .map(|(name, extension)| (name.clone(), extension.sandbox.clone()))
            .collect(),
        links: config.links.clone(),
        instances: config.engine.instances,
        cache: config.engine.cache,
        ca_file: config.ca_file.clone(),
    }
}

/// Serves the workloads until SIGTERM or SIGINT, drains, and ends the host. A second signal ends it at
/// once, with an error.
pub(super) async fn serve(
    config: &Config,
    beside: &Beside,
    host: Host,
    workloads: Vec<Arc<Workload>>,
) -> Result<(), Report> {
    let routed = workloads.iter().filter(|workload| workload.spec().http.is_some()).cloned();
    let router = Router::new(routed).map_err(|error| {
        Report::bad_input("two workloads answer the same requests").caused_by(error)
    })?;
    files::raise_limit(&config.http.settings);
    let servers = bind(config).await?;
    let mut signals = beside.signals()?;
    let serving = Serving::new(router, config.http.settings.clone());
    let (stopping, stopped) = tokio::sync::watch::channel(false);
    let mut servers_end = tokio::task::JoinSet::new();
    for (server, scheme) in servers {
        tracing::info!("listening on {scheme}://{}", server.address());
        let (serving, mut stopped, drain) =
            (serving.clone(), stopped.clone(), config.shutdown_deadline);
        let stop = async move { stopped.wait_for(|stop| *stop).await.map(drop) };
        servers_end.spawn(server.serve(serving, stop, drain));
    }
    beside.health().serving();
    let signal = received(signals.recv().await)?;
    let delay = config.shutdown_delay;
    let end = async {
        if !delay.is_zero() {
            tracing::info!(%signal, "not ready any more; requests are still taken for {delay:?}");
            sleep(delay).await;
        }
        tracing::info!(%signal, "stopping: finishing what runs");
        stopping.send_replace(true);
        let drains =
            workloads.iter().map(|workload| workload.drain_calls(config.shutdown_deadline));
        let (drained, _) = join(servers_end.join_all(), join_all(drains)).await;
        let cut: usize = drained.iter().map(|drained| drained.cut).sum();
        if cut > 0 {
            tracing::warn!("{cut} requests did not end within {:?}", config.shutdown_deadline);
        }
        // Behind all servers: what one of them is done with, another may still need.
        for workload in &workloads {
            workload.end().await;
        }
        // The routes and the workloads hold the bindings, which end before their providers do.
        let dropped = join_all(workloads.iter().map(|workload| workload.dropped()));
        drop((serving, workloads));
        if timeout(LAST, dropped).await.is_err() {
            tracing::warn!(
                "a workload is still in use, and its extensions are stopped all the same"
            );
        }
        host.shutdown().await;
        tracing::info!("stopped");
    };
    tokio::select! {
        () = end => Ok(()),
        signal = signals.recv() => Err(Report::failure(format_args!(
            "stopped at once by a second signal, {}: what still ran was cut", received(signal)?
        ))),
    }
}

fn received(signal: Option<Signal>) -> Result<Signal, Report> {
    signal.ok_or_else(|| Report::failure("signals cannot be received any more"))
}

/// Takes every address, with what it is spoken to as.
async fn bind(config: &Config) -> Result<Vec<(Server, &'static str)>, Report> {
    let mut servers = Vec::new();
    for address in &config.http.listen {
        servers.push((listen(*address).await?, "http"));
    }
    if let Some(tls) = &config.http.tls {
        let certificates = Tls::load(tls.settings.clone()).map_err(|error| {
            let report = Report::bad_input("TLS cannot be served").caused_by(error);
            match &config.file {
                Some(file) => report.at(file.display()),
                None => report,
            }
        })?;
        for address in &tls.listen {
            servers.push((listen(*address).await?.with_tls(certificates.clone()), "https"));
        }
        tokio::spawn(certificates.watch());
    }
    Ok(servers)
}

async fn listen(address: SocketAddr) -> Result<Server, Report> {
    Server::bind(address).await.map_err(|error| {
        Report::bad_input(format_args!("cannot listen on {address}")).caused_by(error)
    })
}

/// An error of the host, with the place in the configuration that it is about.
pub(super) fn report(config: &Config, error: ControlError) -> Report {
    let what = match &error {
        ControlError::Data { .. } => "the host cannot start",
        ControlError::Engine(_) => "the engines cannot be made",
        ControlError::Egress(_) => "outbound requests cannot be made ready",
        ControlError::Server(_) => "the servers cannot be used",
        ControlError::Providers(_) | ControlError::Extensions(_) | ControlError::Extension(_) => {
            "the extensions cannot be loaded"
        }
        ControlError::Prepare(_) | ControlError::Import { .. } | ControlError::Link { .. } => {
            "the workload cannot be started"
        }
        ControlError::Task(_) => return Report::failure("the host failed").caused_by(error),
    };
    let report = Report::bad_input(what).caused_by(error);
    match &config.file {
        Some(file) => report.at(file.display()),
        None => report,
    }
}
