//! What the host tells of itself: its log, its metrics and its health.
//!
//! Log and metrics are set up once, by [`start_log`] and [`begin`]; the rest of the host says `tracing::info!` and
//! `metrics::counter!` and knows nothing of where that goes. Health is what the [`watchdog`] sees from
//! outside; the [`admin`] address tells it to whoever asks.

#![forbid(unsafe_code)]

pub mod admin;
pub mod health;
mod line;
mod log;
pub mod metrics;
pub mod out;
pub mod watchdog;

use crate::{config, observe::metrics::Making};

/// Why the host cannot tell of itself.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The log's filter is not one. The configuration has checked it, so this is not expected.
    #[error("the log filter `{filter}` is not understood; expected a level or `target=level,...`")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// There is a log already.
    #[error("the log is set up already; that is done once in a process")]
    Log(#[from] tracing_subscriber::util::TryInitError),
    /// No thread to make the metrics on.
    #[error("a thread cannot be started; raise the limit of processes for this user (`ulimit -u`)")]
    Thread(#[source] std::io::Error),
    /// There are metrics already.
    #[error("metrics are set up already; that is done once in a process")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// Starts the log. Called once in a process.
pub fn start_log(config: &config::Log) -> Result<(), ObserveError> {
    log::start(config)
}

/// Begins to make the metrics: what else is to be done meanwhile need not wait, but nothing may be counted.
/// Called once in a process, by commands that run something.
pub fn begin() -> Result<Making, ObserveError> {
    Making::begin()
}
