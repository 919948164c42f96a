//! What the extension logs with `tracing`, into the host's log.

use std::{
    cell::Cell,
    fmt::{self, Write},
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use abi_stable::std_types::{RSlice, RStr, Tuple2};
use backplane_abi::{Level, LogRecord};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    subscriber::Interest,
};
use tracing_subscriber::{
    layer::{Context, Layer, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::Host;

/// The instances of this library, oldest first. What a task logs that the extension has spawned goes
/// to the log of the oldest: it belongs to none of them.
static HOSTS: RwLock<Vec<Host>> = RwLock::new(Vec::new());

/// Whether there was ever more than one, so that a call has to say whose it is.
static SEVERAL: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The instance whose code runs on this thread, where there are several.
    static CURRENT: Cell<Option<Host>> = const { Cell::new(None) };
}

/// Sends this library's events to `host`, from now on.
pub(crate) fn install(host: Host) {
    let mut hosts = HOSTS.write().unwrap_or_else(PoisonError::into_inner);
    hosts.push(host);
    SEVERAL.fetch_or(hosts.len() > 1, Ordering::Relaxed);
    drop(hosts);
    // A second instance finds the subscriber installed.
    drop(tracing_subscriber::registry().with(HostLog).try_init());
}

/// Sends nothing to `host` any more.
pub(crate) fn remove(host: Host) {
    HOSTS.write().unwrap_or_else(PoisonError::into_inner).retain(|other| !other.is(&host));
}

/// Whether a call has to say whose it is.
#[inline]
pub(crate) fn several() -> bool {
    SEVERAL.load(Ordering::Relaxed)
}

/// Until the guard is dropped, what this thread logs belongs to `host`.
#[inline]
pub(crate) fn inside(host: &Host) -> Option<Inside> {
    several().then(|| Inside(CURRENT.replace(Some(*host))))
}

pub(crate) struct Inside(Option<Host>);

impl Drop for Inside {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// What `future` logs belongs to `host`.
pub(crate) async fn scope<F: Future>(host: Host, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _inside = inside(&host);
        future.as_mut().poll(context)
    })
    .await
}

fn current() -> Option<Host> {
    if let Some(host) = CURRENT.get() {
        return Some(host);
    }
    HOSTS.read().unwrap_or_else(PoisonError::into_inner).first().copied()
}

struct HostLog;

impl<S: Subscriber> Layer<S> for HostLog {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // The host's level may change, so each event asks.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        current().is_some_and(|host| level(metadata.level()) <= host.max_level())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(host) = current() else { return };
        let mut line = Line::default();
        event.record(&mut line);
        let fields: Vec<_> = line
            .fields
            .iter()
            .map(|(name, value)| Tuple2(RStr::from_str(name), RStr::from_str(value)))
            .collect();
        host.log(&LogRecord {
            level: level(event.metadata().level()),
            target: RStr::from_str(line.target.as_deref().unwrap_or(event.metadata().target())),
            message: RStr::from_str(&line.message),
            fields: RSlice::from_slice(&fields),
        });
    }
}

fn level(level: &tracing::Level) -> Level {
    match *level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: Vec<(&'static str, String)>,
    /// Of a record that came from the `log` crate.
    target: Option<String>,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            "log.target" => self.target = Some(value.to_owned()),
            name if name.starts_with("log.") => {}
            name => self.fields.push((name, value.to_owned())),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            // Writing to a string does not fail; a `Debug` that does leaves its line short.
            "message" => drop(write!(self.message, "{value:?}")),
            name if name.starts_with("log.") => {}
            name => self.fields.push((name, format!("{value:?}"))),
        }
    }
}
