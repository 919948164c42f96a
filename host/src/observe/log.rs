//! The log: lines on standard error, for people or as JSON.

use std::io::{self, IsTerminal as _};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt::MakeWriter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use super::{
    ObserveError,
    line::{Plain, PlainFields},
    out::Out,
};
use crate::config::{Log, LogFormat};

/// Sends the process's events to standard error.
pub(super) fn start(config: &Log) -> Result<(), ObserveError> {
    Ok(subscriber(config, Out, in_colour())?.try_init()?)
}

/// Colour is for terminals, and for those who have not said no (<https://no-color.org>).
fn in_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn subscriber<W>(
    config: &Log,
    writer: W,
    in_colour: bool,
) -> Result<impl Subscriber + Send + Sync + 'static, ObserveError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .parse(&config.filter)
        .map_err(|source| ObserveError::Filter { filter: config.filter.clone(), source })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).log_internal_errors(false);
    let lines = match config.format {
        LogFormat::Text if in_colour => lines.with_ansi(true).boxed(),
        LogFormat::Text => {
            lines.with_ansi(false).event_format(Plain).fmt_fields(PlainFields).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    Ok(tracing_subscriber::registry().with(filter).with(lines))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: LogFormat) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let config = Log { filter: filter.to_owned(), format };
        let subscriber = subscriber(&config, move || writer.clone(), false).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(workload = "shop", "ready");
            tracing::debug!("hidden");
            tracing::debug!(target: "loud", "shown");
        });
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_has_a_line_for_each_event_that_the_filter_lets_through() {
        let text = logged("info,loud=debug", LogFormat::Text);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].contains("INFO") && lines[0].ends_with("ready workload=\"shop\""),
            "{text}"
        );
        assert!(lines[1].ends_with("DEBUG loud: shown"), "{text}");
    }

    #[test]
    fn json_has_an_object_for_each_line() {
        let text = logged("info", LogFormat::Json);
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&event["message"], &event["workload"]), (&"ready".into(), &"shop".into()));
        assert_eq!(event["level"], "INFO");
    }
}
