//! From a request on a connection to the workload that answers it, and back.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{self, HeaderName},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body as _;
use hyper::body::Incoming;
use tracing::Instrument as _;

use super::{
    body::{Limited, Reply},
    record::Record,
    route::Routes,
};
use crate::workload::Ended;

/// Joins the lines about one request, in the host's log and the guest's.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a client is asked to wait before it tries again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Answers one request.
pub(super) async fn respond(routes: &Routes, mut request: Request<Incoming>) -> Response<Reply> {
    let id = request_id(&mut request);
    let mut record = Record::new(request.method().clone(), request.uri().path(), id);
    if request.method() == Method::CONNECT {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, record);
    }
    let authority = match authority(&request) {
        Ok(authority) => authority,
        Err(status) => return refuse(status, record),
    };
    let host = authority.host().to_ascii_lowercase();
    let Some(workload) = routes.current().find(&host, request.uri().path()).cloned() else {
        return refuse(StatusCode::NOT_FOUND, record);
    };
    record.routed_to(&workload);
    let limit = workload.spec().limits.request_body;
    if request.body().size_hint().lower() > limit {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, record);
    }
    if set_target(&mut request, authority).is_err() {
        return refuse(StatusCode::BAD_REQUEST, record);
    }
    let (parts, body) = request.into_parts();
    let (body, too_large) = Limited::new(body, limit);
    let span = tracing::info_span!("request", workload = %workload.name(), id = record.id());
    let result = workload.handle(Request::from_parts(parts, body)).instrument(span).await;
    if too_large.load(Ordering::Relaxed) {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, record);
    }
    match result {
        Ok(response) => {
            record.answered(response.status());
            response.map(|body| Reply::guest(body, record))
        }
        Err(ended) => failed(&ended, record),
    }
}

/// What the client may know of how a guest ended: whose fault it is, and whether to try again.
fn failed(ended: &Ended, record: Record) -> Response<Reply> {
    let status = match ended {
        Ended::Trap(_)
        | Ended::Memory { .. }
        | Ended::NoResponse
        | Ended::Error(_)
        | Ended::Host(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Ended::Provider(_) => StatusCode::BAD_GATEWAY,
        Ended::Cpu(_) | Ended::Refused(_) => StatusCode::SERVICE_UNAVAILABLE,
        Ended::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
    };
    let mut response = refuse(status, record);
    if let Ended::Refused(_) = ended {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

/// The host's own response: a status, its text and the request's id, and nothing from inside.
fn refuse(status: StatusCode, mut record: Record) -> Response<Reply> {
    record.answered(status);
    let id = HeaderValue::from_str(record.id());
    let mut response = Response::new(Reply::host(format!("{status}\n"), record));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Ok(id) = id {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// The host a request is for: of its target, else of its one `Host` header.
fn authority(request: &Request<Incoming>) -> Result<Authority, StatusCode> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let authority = match (request.uri().authority(), hosts.next(), hosts.next()) {
        (_, _, Some(_)) => return Err(StatusCode::BAD_REQUEST),
        (Some(authority), _, None) => authority.clone(),
        (None, Some(host), None) => {
            Authority::try_from(host.as_bytes()).map_err(|_| StatusCode::BAD_REQUEST)?
        }
        // HTTP/1.0 has no `Host`.
        (None, None, None) if request.version() == Version::HTTP_10 => {
            Authority::from_static("localhost")
        }
        (None, None, None) => return Err(StatusCode::BAD_REQUEST),
    };
    if authority.as_str().contains('@') {
        return Err(StatusCode::BAD_REQUEST);
    }
    Ok(authority)
}

/// Gives the request the whole URI, which guests of both versions take it apart from.
fn set_target(request: &mut Request<Incoming>, authority: Authority) -> Result<(), http::Error> {
    let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    // `OPTIONS *` has no path that a URI could hold.
    let path = if path.as_str().starts_with('/') { path } else { PathAndQuery::from_static("/") };
    *request.uri_mut() =
        Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path).build()?;
    Ok(())
}

/// The id that the client or a proxy gave the request, or a new one, which the guest sees as well.
fn request_id(request: &mut Request<Incoming>) -> String {
    let given = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    if let Some(id) =
        given.filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()))
    {
        return id.to_owned();
    }
    // Unlikely to be another process's, and never twice in one.
    static BASE: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("request-id"));
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = format!("{:016x}", BASE.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)));
    if let Ok(value) = HeaderValue::from_str(&id) {
        request.headers_mut().insert(REQUEST_ID, value);
    }
    id
}
