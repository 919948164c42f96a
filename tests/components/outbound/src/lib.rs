//! Fetches the URL in the parameter `url` over `wasi:http` 0.2, with the request's own method and
//! body, and answers with a line of its status followed by its body, as it comes in. What cannot be
//! fetched is answered with 502 and the error's case.

use guest_support::{Response, Target, respond};
use wasip2::{
    exports::http::incoming_handler::Guest,
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, IncomingRequest, IncomingResponse, OutgoingBody, OutgoingRequest,
            ResponseOutparam, Scheme,
        },
    },
    io::streams::StreamError,
};

/// How many bytes the host is asked to move at a time.
const CHUNK: u64 = 64 * 1024;

struct Outbound;

wasip2::http::proxy::export!(Outbound);

impl Guest for Outbound {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::of(&request);
        let Some(url) = target.text("url") else {
            return respond(out, 400, "the parameter `url` is missing\n");
        };
        match fetch(url, &request) {
            Ok(response) => pass_on(response, out),
            Err(error) => respond(out, 502, format!("{error:?}\n")),
        }
    }
}

/// Sends a request and waits for the head of its response.
fn fetch(url: &str, original: &IncomingRequest) -> Result<IncomingResponse, ErrorCode> {
    let invalid = || ErrorCode::HttpRequestUriInvalid;
    let (scheme, rest) = url.split_once("://").ok_or_else(invalid)?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let path_at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(path_at).ok_or_else(invalid)?;

    let request = OutgoingRequest::new(Fields::new());
    request.set_method(&original.method()).map_err(|()| invalid())?;
    request.set_scheme(Some(&scheme)).map_err(|()| invalid())?;
    request.set_authority(Some(authority)).map_err(|()| invalid())?;
    let path = if path.is_empty() { "/" } else { path };
    request.set_path_with_query(Some(path)).map_err(|()| invalid())?;

    let internal = |what: &str| ErrorCode::InternalError(Some(what.to_owned()));
    let body = request.body().map_err(|()| internal("the request has no body"))?;
    let pending = outgoing_handler::handle(request, None)?;
    send(original, body)?;
    pending.subscribe().block();
    match pending.get() {
        Some(Ok(response)) => response,
        _ => Err(internal("the response is not there")),
    }
}

/// Sends the original request's body.
fn send(original: &IncomingRequest, body: OutgoingBody) -> Result<(), ErrorCode> {
    if let (Ok(from), Ok(to)) = (original.consume(), body.write())
        && let Ok(from) = from.stream()
    {
        splice(&from, &to).map_err(|error| ErrorCode::InternalError(Some(error)))?;
    }
    OutgoingBody::finish(body, None)
}

fn pass_on(from: IncomingResponse, out: ResponseOutparam) {
    let status = from.status();
    let passed = Response::begin(out, 200).map_err(|error| error.to_string()).and_then(|mut to| {
        let first = format!("{status}\n");
        to.stream()
            .blocking_write_and_flush(first.as_bytes())
            .map_err(|error| error.to_string())?;
        if let Ok(body) = from.consume()
            && let Ok(stream) = body.stream()
        {
            splice(&stream, to.stream())?;
        }
        to.finish().map_err(|error| error.to_string())
    });
    if let Err(error) = passed {
        eprintln!("the response was not passed on: {error}");
    }
}

fn splice(
    from: &wasip2::io::streams::InputStream,
    to: &wasip2::io::streams::OutputStream,
) -> Result<(), String> {
    loop {
        match to.blocking_splice(from, CHUNK) {
            Ok(_) => {}
            Err(StreamError::Closed) => return to.blocking_flush().map_err(|e| e.to_string()),
            Err(error) => return Err(error.to_string()),
        }
    }
}
