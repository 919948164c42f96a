//! What the listeners of a host share: routes, limits, and the connections that may be open.

use std::{fmt, sync::Arc};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;
use metrics::{Counter, Gauge, counter, gauge};
use tokio::sync::Semaphore;

use super::{
    route::{Router, Routes},
    settings::Settings,
    streams::Streams,
};
use crate::metric;

/// What the listeners of a host share. A clone is the same.
#[derive(Clone)]
pub struct Serving(Arc<Shared>);

struct Shared {
    routes: Routes,
    settings: Settings,
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
    permits: Arc<Semaphore>,
    meters: Meters,
}

/// The meters of connections.
pub(super) struct Meters {
    pub(super) open: Gauge,
    pub(super) slow_head: Counter,
    pub(super) slow_reader: Counter,
    pub(super) no_handshake: Counter,
}

impl Meters {
    fn new() -> Self {
        let cut = |why: &'static str| counter!(metric::CONNECTIONS_CUT.name, "why" => why);
        Self {
            open: gauge!(metric::CONNECTIONS.name),
            slow_head: cut("head"),
            slow_reader: cut("write"),
            no_handshake: cut("handshake"),
        }
    }
}

impl Serving {
    /// Answers by these routes, within these limits.
    pub fn new(routes: impl Into<Routes>, settings: Settings) -> Self {
        let permits = Arc::new(Semaphore::new(settings.connections.min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Shared {
            routes: routes.into(),
            http1: http1(&settings),
            http2: http2(&settings),
            settings,
            permits,
            meters: Meters::new(),
        }))
    }

    /// The routes.
    pub fn routes(&self) -> &Routes {
        &self.0.routes
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(super) fn http1(&self) -> &http1::Builder {
        &self.0.http1
    }

    pub(super) fn http2(&self) -> &http2::Builder<Streams> {
        &self.0.http2
    }

    pub(super) fn permits(&self) -> &Arc<Semaphore> {
        &self.0.permits
    }

    pub(super) fn meters(&self) -> &Meters {
        &self.0.meters
    }
}

/// How HTTP/1.1 is spoken. Heads are timed by the connection's own timer: hyper's is one for each
/// request.
fn http1(settings: &Settings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(None).max_header_size(settings.head_size);
    // hyper takes as many without being told, and then without an allocation for each request.
    const BY_ITSELF: usize = 100;
    if settings.head_fields > BY_ITSELF {
        builder.max_headers(settings.head_fields);
    }
    builder
}

fn http2(settings: &Settings) -> http2::Builder<Streams> {
    /// Bytes of a response that wait for their client, in each stream.
    const SEND_BUFFER: usize = 64 << 10;
    let limits = &settings.http2;
    let mut builder = http2::Builder::new(Streams { limit: settings.write_timeout });
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_pending_accept_reset_streams(limits.resets)
        .max_local_error_reset_streams(limits.resets)
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_header_list_size(u32::try_from(settings.head_size).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER);
    if let Some(ping) = limits.ping {
        builder.keep_alive_interval(ping).keep_alive_timeout(ping);
    }
    builder
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl From<Routes> for Serving {
    fn from(routes: Routes) -> Self {
        Self::new(routes, Settings::default())
    }
}

impl From<Router> for Serving {
    fn from(router: Router) -> Self {
        Self::from(Routes::new(router))
    }
}
