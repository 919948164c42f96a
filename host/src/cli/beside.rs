//! What runs beside the host, on a thread of its own: the admin address, the watchdog and the signals.
//! However busy or blocked the host's threads are, these answer.

use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::sleep,
};

use super::runtime::Aside;
use crate::{
    config::{Config, Origin},
    http::signal::{Signal, Signals},
    observe::{
        self, ObserveError,
        admin::{Admin, AdminError},
        health::Health,
        metrics::Making,
        out,
        watchdog::Watchdog,
    },
    report::Report,
};

/// What runs beside the host. It ends when this is dropped.
pub(super) struct Beside {
    aside: Aside,
    health: Health,
    admin: Option<Admin>,
    begun: Option<Making>,
}

impl Beside {
    /// Begins what need not wait for the configuration.
    pub(super) fn begin() -> Result<Making, Report> {
        observe::begin().map_err(cannot_start)
    }

    /// Starts the log and listens on the admin address. Called once, before anything that takes its time.
    pub(super) fn start(config: &Config, begun: Making) -> Result<Self, Report> {
        observe::start_log(&config.log).map_err(cannot_start)?;
        let aside = Aside::start()?;
        let mut beside = Self { aside, health: Health::new(), admin: None, begun: Some(begun) };
        if let Some(address) = config.admin.listen {
            let admin = beside
                .aside
                .within(|| Admin::bind(address))
                .map_err(|error| cannot_listen(config, error))?;
            let address = admin.address();
            tracing::info!("health and metrics on http://{address}: /livez, /readyz, /metrics");
            if !address.ip().is_loopback() {
                tracing::warn!(
                    "the admin address {address} is not on loopback alone: whoever reaches it can read \
                     the names of workloads, extensions and functions; choose a loopback address with \
                     `admin.listen` (`--admin`), or see to it that only the monitoring reaches it"
                );
            }
            beside.admin = Some(admin);
        }
        beside.aside.spawn(write_lines());
        Ok(beside)
    }

    /// Waits for the metrics, and answers on the admin address from here on: who asks is told that the host
    /// starts. Called once, before anything is counted. Watches the threads of the runtime that calls this.
    pub(super) fn watch(&mut self, config: &Config) -> Result<(), Report> {
        let Some(begun) = self.begun.take() else { return Ok(()) };
        let metrics = begun.end().map_err(cannot_start)?;
        if let Some(admin) = self.admin.take() {
            self.aside.spawn(admin.serve(self.health.clone(), metrics.clone()));
        }
        self.aside.spawn(metrics.keep_up());
        if let Some(limit) = config.admin.watchdog {
            let watchdog = Watchdog::new(limit, Handle::current(), self.health.clone());
            self.aside.spawn(watchdog.run());
        }
        Ok(())
    }

    /// The host's health.
    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// Catches the signals that ask the process to stop. With the first the host is not ready any more,
    /// even before anybody receives it here.
    pub(super) fn signals(&self) -> Result<UnboundedReceiver<Signal>, Report> {
        let mut signals = self
            .aside
            .within(Signals::catch)
            .map_err(|error| Report::failure("signals cannot be received").caused_by(error))?;
        let (sender, receiver) = unbounded_channel();
        let health = self.health.clone();
        self.aside.spawn(async move {
            loop {
                let signal = signals.next().await;
                health.draining();
                if sender.send(signal).is_err() {
                    // The host has ended, and this process is about to.
                    return;
                }
            }
        });
        Ok(receiver)
    }
}

/// Writes lines of the log that wait for a busy thread. It never ends.
async fn write_lines() {
    loop {
        sleep(out::LONGEST).await;
        out::write_all();
    }
}

fn cannot_start(error: ObserveError) -> Report {
    Report::failure("the host cannot start").caused_by(error)
}

fn cannot_listen(config: &Config, error: AdminError) -> Report {
    let report = Report::bad_input("health and metrics cannot be served").caused_by(error);
    match config.origin_of_admin() {
        Origin::Default => report,
        origin => report.at(origin),
    }
}
