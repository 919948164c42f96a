//! From a request on a connection to the workload that answers it, and back.

use std::sync::Arc;

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body as _;
use hyper::body::Incoming;
use tracing::Instrument as _;

use super::{
    body::{Reply, RequestBody},
    connection::Context,
    record::{REQUEST_ID, Record},
};
use crate::workload::Ended;

/// How long a client is asked to wait before it tries again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// The longest host name that there is (RFC 1035, section 2.3.4).
const LONGEST_HOST: usize = 255;

/// Answers one request.
pub(super) async fn respond(
    context: Arc<Context>,
    mut request: Request<Incoming>,
) -> Response<Reply> {
    // Before the host adds its own.
    let fields = request.headers().len();
    let record = Record::new(Arc::clone(&context), &mut request);
    let mut response = if fields > context.serving.settings().head_fields {
        refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, record)
    } else {
        answer(&context, request, record).await
    };
    if response.body().record().is_last() {
        response.headers_mut().insert(header::CONNECTION, CLOSE);
    }
    response
}

async fn answer(
    context: &Context,
    mut request: Request<Incoming>,
    mut record: Record,
) -> Response<Reply> {
    if request.method() == Method::CONNECT {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, record);
    }
    let authority = match authority(&request) {
        Ok(authority) => authority,
        Err(status) => return refuse(status, record),
    };
    let mut space = [0; LONGEST_HOST];
    let found = in_lower_case(authority.host(), &mut space)
        .and_then(|host| context.serving.routes().find(host, request.uri().path()));
    let Some((workload, strip)) = found else {
        return refuse(StatusCode::NOT_FOUND, record);
    };
    record.routed_to(&workload);
    let limit = workload.spec().limits.request_body;
    if request.body().size_hint().lower() > limit {
        workload.body_too_large();
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, record);
    }
    let scheme = if context.is_tls { Scheme::HTTPS } else { Scheme::HTTP };
    if set_target(&mut request, scheme, authority, strip).is_err() {
        return refuse(StatusCode::BAD_REQUEST, record);
    }
    let (parts, body) = request.into_parts();
    let timeout = context.serving.settings().body_timeout;
    let (body, fault) = RequestBody::new(body, limit, timeout, &context.activity);
    let span = tracing::info_span!("request", workload = %workload.name(), id = %record.id);
    let result = workload.handle(Request::from_parts(parts, body)).instrument(span).await;
    if let Some(status) = fault.status() {
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            workload.body_too_large();
        }
        return refuse(status, record);
    }
    match result {
        Ok(response) => {
            record.answered(response.status());
            response.map(|body| Reply::guest(body, record))
        }
        Err(ended) => failed(&ended, record),
    }
}

/// A host name as routes have it, without the dot that a full name may end in. None if it is longer
/// than any.
fn in_lower_case<'a>(host: &'a str, space: &'a mut [u8; LONGEST_HOST]) -> Option<&'a str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.len() > LONGEST_HOST {
        return None;
    }
    if !host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(host);
    }
    let lower = space.get_mut(..host.len())?;
    lower.copy_from_slice(host.as_bytes());
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).ok()
}

/// What the client may know of how a guest ended: whose fault it is, and whether to try again.
fn failed(ended: &Ended, record: Record) -> Response<Reply> {
    let ended = ended.origin();
    let status = match ended {
        Ended::Trap(_)
        | Ended::Memory { .. }
        | Ended::Table { .. }
        | Ended::Parts { .. }
        | Ended::Hostcall { .. }
        | Ended::NoResponse
        | Ended::Error(_)
        | Ended::Host(_)
        | Ended::With { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        Ended::Provider(_) | Ended::Arguments(_) => StatusCode::BAD_GATEWAY,
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
    let id = record.id.value();
    let mut response = Response::new(Reply::host(format!("{status}\n"), record));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Some(id) = id {
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

/// Gives the request the whole URI, which guests of both versions take it apart from, without the first
/// bytes of its path.
fn set_target(
    request: &mut Request<Incoming>,
    scheme: Scheme,
    authority: Authority,
    strip: usize,
) -> Result<(), http::Error> {
    let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let path = match path.as_str().get(strip..) {
        // `OPTIONS *` has no path that a URI could hold.
        Some(rest) if strip == 0 && !rest.starts_with('/') => PathAndQuery::from_static("/"),
        _ if strip == 0 => path,
        Some(rest) if rest.starts_with('/') => PathAndQuery::try_from(rest)?,
        rest => PathAndQuery::try_from(format!("/{}", rest.unwrap_or_default()))?,
    };
    *request.uri_mut() =
        Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build()?;
    Ok(())
}
