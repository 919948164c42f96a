//! One line in the log for each request, when its response is gone.

use std::{fmt, sync::Arc, time::Instant};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, uri::PathAndQuery};

use super::{connection::Context, streams::is_cutting};
use crate::{trace::Trace, workload::Workload};

/// Joins the lines about one request, in the host's log and the guest's.
pub(super) const REQUEST_ID: http::HeaderName = http::HeaderName::from_static("x-request-id");

/// What a request is called in the log.
#[derive(Debug, Clone)]
pub(super) enum RequestId {
    /// What the client or a proxy gave it: printable ASCII.
    Given(HeaderValue),
    /// What the host did.
    Made(u64),
}

impl RequestId {
    /// Takes the id that a request came with, or gives it one: that of the host's span.
    fn enter(headers: &mut HeaderMap, trace: &Trace) -> Self {
        let is_id = |id: &&HeaderValue| {
            (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        if let Some(id) = headers.get(REQUEST_ID).filter(is_id) {
            return Self::Given(id.clone());
        }
        let id = Self::Made(u64::from_be_bytes(trace.span_id()));
        if let Some(value) = id.value() {
            headers.insert(REQUEST_ID, value);
        }
        id
    }

    /// The id as a header has it.
    pub(super) fn value(&self) -> Option<HeaderValue> {
        match self {
            Self::Given(value) => Some(value.clone()),
            Self::Made(_) => HeaderValue::try_from(self.to_string()).ok(),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(value) => f.write_str(value.to_str().unwrap_or_default()),
            Self::Made(id) => write!(f, "{id:016x}"),
        }
    }
}

/// How a response ended, once there was one.
#[derive(Debug, Clone, Copy)]
enum End {
    /// It was sent.
    Done,
    /// The guest failed behind its head.
    CutOff,
    /// The client left before its end, or was cut.
    Left,
}

/// What is known of a request so far. Logged when dropped, however the request ended.
pub(super) struct Record {
    pub(super) context: Arc<Context>,
    pub(super) id: RequestId,
    method: Method,
    version: Version,
    target: Option<PathAndQuery>,
    trace: Trace,
    workload: Option<Arc<Workload>>,
    /// None until there is a response: the client left before.
    status: Option<StatusCode>,
    bytes: usize,
    end: End,
    begun: Instant,
}

impl Record {
    /// A request that has just arrived. It gets its place in a trace, and an id, which the guest sees.
    pub(super) fn new<B>(context: Arc<Context>, request: &mut Request<B>) -> Self {
        context.activity.begin();
        let trace = Trace::enter(request.headers_mut());
        let id = RequestId::enter(request.headers_mut(), &trace);
        Self {
            context,
            id,
            method: request.method().clone(),
            version: request.version(),
            target: request.uri().path_and_query().cloned(),
            trace,
            workload: None,
            status: None,
            bytes: 0,
            end: End::Done,
            begun: Instant::now(),
        }
    }

    /// Whether its response is the last of its connection, and has to say so: HTTP/2 has its own way.
    pub(super) fn is_last(&self) -> bool {
        !self.is_multiplexed() && self.context.activity.is_closing()
    }

    /// Whether its connection has others beside it, as in HTTP/2.
    pub(super) fn is_multiplexed(&self) -> bool {
        self.version > Version::HTTP_11
    }

    /// Whether its response has a head alone, by its method or its status (RFC 9110, section 6.4.1).
    pub(super) fn has_no_body(&self) -> bool {
        self.method == Method::HEAD
            || matches!(self.status, Some(StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED))
    }

    pub(super) fn routed_to(&mut self, workload: &Arc<Workload>) {
        self.workload = Some(Arc::clone(workload));
    }

    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    pub(super) fn cut_off(&mut self) {
        self.end = End::CutOff;
    }

    /// The response is dropped before its end.
    pub(super) fn left(&mut self) {
        if let End::Done = self.end {
            self.end = End::Left;
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.context.activity.end();
        let time = self.begun.elapsed();
        if let Some(workload) = &self.workload {
            workload.took(time);
        }
        let Self { method, version, id, trace, bytes, .. } = self;
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let workload = self.workload.as_ref().map_or("-", |workload| workload.name().as_str());
        let status = self.status.map_or(0, |status| status.as_u16());
        // The query is left out: it may hold what is secret.
        let path = self.target.as_ref().map_or("-", PathAndQuery::path);
        let tls = self.context.is_tls;
        let ended = match (self.status, self.end) {
            (None, _) | (_, End::Left) if self.context.is_stopped() => "stopped",
            (None, _) | (_, End::Left) if self.context.activity.is_cut() || is_cutting() => {
                "client too slow"
            }
            (None, _) | (_, End::Left) => "client gone",
            (Some(_), End::CutOff) => "cut off",
            (Some(_), End::Done) => "done",
        };
        tracing::info!(
            target: "access",
            %method,
            path,
            ?version,
            tls,
            status,
            workload,
            bytes,
            micros,
            %id,
            %trace,
            "{ended}"
        );
    }
}
