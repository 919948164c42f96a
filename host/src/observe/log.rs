//! The log: lines on standard error, for people or as JSON.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{
    EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use super::ObserveError;
use crate::config::{Log, LogFormat};

/// Sends the process's events to standard error.
pub(super) fn start(config: &Log) -> Result<(), ObserveError> {
    let filter = EnvFilter::builder()
        .parse(&config.filter)
        .map_err(|source| ObserveError::Filter { filter: config.filter.clone(), source })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let layer = match config.format {
        LogFormat::Text => lines.with_ansi(in_colour()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(layer).try_init()?;
    Ok(())
}

/// Colour is for terminals, and for those who have not said no (<https://no-color.org>).
fn in_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
