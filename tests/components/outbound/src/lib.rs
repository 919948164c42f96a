//! Tries to reach something over the network, as the path says, and answers with what came of it:
//!
//! | path | does |
//! |---|---|
//! | `/?url=U` | fetches U over `wasi:http` 0.2, with the request's own method and body |
//! | `/follow?url=U` | the same, and follows redirects as a browser would |
//! | `/give-up?url=U` | begins to send a body to U, waits for its first byte to be read, and leaves |
//! | `/tcp?to=A` | connects to the address A, or the `name:port` |
//! | `/udp?to=A` | sends a datagram to A |
//! | `/listen?on=A` | listens on A |
//! | `/names?name=N` | looks up N |
//!
//! `/` takes `connect`, `first` and `between` besides, its timeouts in milliseconds. A response comes as
//! a line of its status and its body as it comes in; any other success as `ok` and what there is to
//! tell; a failure as 502 and the error.

use std::{
    io,
    net::{TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket},
};

use guest_support::{Response, Target, respond};
use wasip2::{
    exports::http::incoming_handler::Guest,
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, IncomingRequest, IncomingResponse, Method, OutgoingBody,
            OutgoingRequest, RequestOptions, ResponseOutparam, Scheme,
        },
    },
    io::streams::{InputStream, OutputStream, StreamError},
};

/// How many bytes the host is asked to move at a time.
const CHUNK: u64 = 64 * 1024;

/// Redirects that are followed.
const HOPS: usize = 5;

struct Outbound;

wasip2::http::proxy::export!(Outbound);

impl Guest for Outbound {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::of(&request);
        let text = |name: &str| target.text(name).unwrap_or_default();
        let told = match target.path() {
            "/tcp" => connect(text("to")),
            "/udp" => send_datagram(text("to")),
            "/listen" => listen(text("on")),
            "/names" => look_up(text("name")),
            "/follow" => return answer(follow(text("url"), &request), out),
            "/give-up" => return answer(give_up(text("url")), out),
            _ => return answer(fetch(text("url"), &request, Some(options(&target))), out),
        };
        match told {
            Ok(told) => respond(out, 200, format!("ok {told}\n")),
            Err(error) => respond(out, 502, format!("{:?}: {error}\n", error.kind())),
        }
    }
}

fn answer(response: Result<IncomingResponse, ErrorCode>, out: ResponseOutparam) {
    match response {
        Ok(response) => pass_on(response, out),
        Err(error) => respond(out, 502, format!("{error:?}\n")),
    }
}

fn connect(to: &str) -> io::Result<String> {
    Ok(TcpStream::connect(to)?.peer_addr()?.to_string())
}

fn send_datagram(to: &str) -> io::Result<String> {
    let address = to.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let own = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    UdpSocket::bind(own)?.send_to(b"hello", address)?;
    Ok(address.to_string())
}

fn listen(on: &str) -> io::Result<String> {
    Ok(TcpListener::bind(on)?.local_addr()?.to_string())
}

fn look_up(name: &str) -> io::Result<String> {
    let mut addresses: Vec<_> = (name, 0).to_socket_addrs()?.map(|a| a.ip().to_string()).collect();
    addresses.dedup();
    Ok(addresses.join(" "))
}

fn options(target: &Target) -> RequestOptions {
    let options = RequestOptions::new();
    let set = |name: &str, set: &dyn Fn(Option<u64>) -> Result<(), ()>| {
        if target.text(name).is_some() && set(Some(target.number(name, 0) * 1_000_000)).is_err() {
            eprintln!("the timeout `{name}` was refused");
        }
    };
    set("connect", &|time| options.set_connect_timeout(time));
    set("first", &|time| options.set_first_byte_timeout(time));
    set("between", &|time| options.set_between_bytes_timeout(time));
    options
}

fn internal(what: &str) -> ErrorCode {
    ErrorCode::InternalError(Some(what.to_owned()))
}

/// A request to a URL, not yet sent.
fn request(url: &str, method: &Method) -> Result<OutgoingRequest, ErrorCode> {
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
    request.set_method(method).map_err(|()| invalid())?;
    request.set_scheme(Some(&scheme)).map_err(|()| invalid())?;
    request.set_authority(Some(authority)).map_err(|()| internal("the authority is refused"))?;
    let path = if path.is_empty() { "/" } else { path };
    request.set_path_with_query(Some(path)).map_err(|()| invalid())?;
    Ok(request)
}

/// Sends a request and waits for the head of its response.
fn fetch(
    url: &str,
    original: &IncomingRequest,
    options: Option<RequestOptions>,
) -> Result<IncomingResponse, ErrorCode> {
    let request = request(url, &original.method())?;
    let body = request.body().map_err(|()| internal("the request has no body"))?;
    let pending = outgoing_handler::handle(request, options)?;
    // A request that was refused has no reader of its body; the reason comes as its response.
    if let Err(error) = send(original, body) {
        eprintln!("the request's body was not sent: {error:?}");
    }
    pending.subscribe().block();
    match pending.get() {
        Some(Ok(response)) => response,
        _ => Err(internal("the response is not there")),
    }
}

fn follow(url: &str, original: &IncomingRequest) -> Result<IncomingResponse, ErrorCode> {
    let mut url = url.to_owned();
    for _ in 0..HOPS {
        let response = fetch(&url, original, None)?;
        let location = response.headers().get("location").into_iter().next();
        let Some(location) = location.filter(|_| (300..400).contains(&response.status())) else {
            return Ok(response);
        };
        url = String::from_utf8_lossy(&location).into_owned();
    }
    Err(ErrorCode::LoopDetected)
}

/// Sends a part of a body, and drops everything before it is whole.
fn give_up(url: &str) -> Result<IncomingResponse, ErrorCode> {
    let request = request(url, &Method::Post)?;
    let body = request.body().map_err(|()| internal("the request has no body"))?;
    let pending = outgoing_handler::handle(request, None)?;
    let stream = body.write().map_err(|()| internal("the body has no stream"))?;
    stream.blocking_write_and_flush(b"a part").map_err(|error| internal(&error.to_string()))?;
    pending.subscribe().block();
    let response = match pending.get() {
        Some(Ok(response)) => response?,
        _ => return Err(internal("the response is not there")),
    };
    drop(response);
    drop(stream);
    drop(body);
    Err(internal("given up"))
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

fn splice(from: &InputStream, to: &OutputStream) -> Result<(), String> {
    loop {
        match to.blocking_splice(from, CHUNK) {
            Ok(_) => {}
            Err(StreamError::Closed) => return to.blocking_flush().map_err(|e| e.to_string()),
            Err(error) => return Err(error.to_string()),
        }
    }
}
