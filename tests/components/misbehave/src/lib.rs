//! An HTTP guest that does what a guest must not. The path chooses:
//!
//! | path | does |
//! |---|---|
//! | `/loop` | computes for ever |
//! | `/grow` | takes memory without end |
//! | `/recurse` | calls itself without end |
//! | `/trap` | traps before it answers |
//! | `/trap-late?bytes=N` | traps when N bytes of the body are sent |
//! | `/silent` | returns without an answer |
//! | `/twice` | answers, and answers again |
//! | `/hang` | waits for ever and uses no CPU |
//! | `/timer?ms=N` | answers after N milliseconds |
//! | `/stream?bytes=N` | answers with a body of N bytes, `0123456789` over and over |
//! | `/cut?bytes=N` | ends without finishing its body after N bytes |
//! | `/ignore-body` | answers without reading the request's body |
//! | `/count-body` | reads the request's body and answers with its length |
//! | `/trailers` | reads the request's body and sends its trailers back |
//! | `/see` | answers with what it sees of the request: method, URI and header fields |
//! | `/config`, `/config?key=K` | answers with its `wasi:config/store` |
//! | `/environment` | answers with its environment |
//! | `/log?text=T` | writes T to standard output and to standard error |
//!
//! Anything else is answered with `ok`.

use std::{
    hint::black_box,
    io::{self, Read as _, Write as _},
};

use guest_support::{Response, Target, body, respond};
use wasip2::{
    clocks::monotonic_clock,
    exports::http::incoming_handler::Guest,
    http::types::{Fields, IncomingBody, IncomingRequest, Method, ResponseOutparam, Scheme},
};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package backplane:misbehave;
            world misbehave {
                import wasi:config/store@0.2.0-rc.1;
            }
        ",
        path: "../../../wit/wasi-config-0.2.0-rc.1",
        generate_all,
    });
}

use bindings::wasi::config::store;

/// How much of a body is sent at a time; whole repetitions of the ten digits.
const CHUNK: usize = 10_000;

struct Misbehave;

wasip2::http::proxy::export!(Misbehave);

impl Guest for Misbehave {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::of(&request);
        match target.path() {
            "/loop" => loop {
                black_box(());
            },
            "/grow" => grow(),
            "/recurse" => respond(out, 200, recurse(1).to_string()),
            "/trap" => core::arch::wasm32::unreachable(),
            "/trap-late" => {
                let sent = stream(out, target.number("bytes", 1000));
                drop(black_box(sent));
                core::arch::wasm32::unreachable()
            }
            "/silent" => {}
            "/twice" => {
                // SAFETY: the handle is the host's to check. It is gone when it is used again, which
                // traps, and is dropped by nobody then.
                let again = unsafe { ResponseOutparam::from_handle(out.handle()) };
                respond(out, 200, "once\n");
                respond(again, 200, "twice\n");
            }
            "/hang" => loop {
                wait(u64::MAX / 2);
            },
            "/timer" => {
                let milliseconds = target.number("ms", 100);
                wait(milliseconds * 1_000_000);
                respond(out, 200, format!("waited {milliseconds} ms\n"));
            }
            "/stream" => {
                told(stream(out, target.number("bytes", 1 << 20)).and_then(Response::finish))
            }
            "/cut" => told(stream(out, target.number("bytes", 1000)).map(drop)),
            "/count-body" => match body(&request) {
                Ok(bytes) => respond(out, 200, format!("{}\n", bytes.len())),
                Err(error) => respond(out, 400, format!("{error}\n")),
            },
            "/trailers" => told(trailers(&request, out)),
            "/see" => respond(out, 200, see(&request)),
            "/config" => match config(target.text("key")) {
                Ok(text) => respond(out, 200, text),
                Err(error) => respond(out, 500, format!("{error:?}\n")),
            },
            "/environment" => {
                let mut variables: Vec<_> =
                    std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect();
                variables.sort();
                respond(out, 200, variables.concat());
            }
            "/log" => {
                let text = target.text("text").unwrap_or("a line");
                println!("{text}");
                eprintln!("{text}");
                respond(out, 200, "logged\n");
            }
            _ => respond(out, 200, "ok\n"),
        }
    }
}

/// Keeps a mebibyte after the other, and writes to each so that it is really there.
fn grow() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1 << 20]));
    }
}

#[expect(unconditional_recursion, reason = "this is what it is for")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    black_box(recurse(depth + 1)) + frame.iter().sum::<u64>()
}

/// Waits without using the CPU.
fn wait(nanoseconds: u64) {
    monotonic_clock::subscribe_duration(nanoseconds).block();
}

/// Begins a response and sends so many bytes of its body.
fn stream(out: ResponseOutparam, bytes: u64) -> io::Result<Response> {
    let mut response = Response::begin(out, 200)?;
    let chunk = b"0123456789".repeat(CHUNK / 10);
    let mut left = bytes;
    while left > 0 {
        let size = left.min(CHUNK as u64);
        let piece = usize::try_from(size).ok().and_then(|size| chunk.get(..size));
        response.stream().write_all(piece.unwrap_or_default())?;
        left -= size;
    }
    response.stream().blocking_flush().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(response)
}

/// Sends a request's trailers back, behind the length of its body.
fn trailers(request: &IncomingRequest, out: ResponseOutparam) -> io::Result<()> {
    let failed = |what: &str| io::Error::other(what.to_owned());
    let body = request.consume().map_err(|()| failed("the body was taken before"))?;
    let mut stream = body.stream().map_err(|()| failed("the body has no stream"))?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    drop(stream);
    let future = IncomingBody::finish(body);
    future.subscribe().block();
    let received = future.get().and_then(Result::ok).ok_or_else(|| failed("no trailers to get"))?;
    let trailers = received.map_err(|error| io::Error::other(error.to_string()))?;
    let names = trailers.as_ref().map(Fields::entries).unwrap_or_default();
    let names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
    let fields = Fields::new();
    let announced = fields.set("trailer", &[names.join(", ").into_bytes()]);
    announced.map_err(|error| io::Error::other(error.to_string()))?;
    let mut response = Response::begin_with(out, 200, fields)?;
    response.stream().write_all(format!("{}\n", bytes.len()).as_bytes())?;
    response.finish_with(trailers)
}

fn see(request: &IncomingRequest) -> String {
    let scheme = match request.scheme() {
        Some(Scheme::Http) => "http",
        Some(Scheme::Https) => "https",
        _ => "?",
    };
    let method = match request.method() {
        Method::Get => "GET",
        _ => "?",
    };
    let authority = request.authority().unwrap_or_default();
    let path = request.path_with_query().unwrap_or_default();
    let fields = request.headers().entries().into_iter();
    let fields =
        fields.map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(&value)));
    format!("{method} {scheme}://{authority}{path}\n{}", fields.collect::<String>())
}

fn told(sent: io::Result<()>) {
    if let Err(error) = sent {
        eprintln!("the response was not sent: {error}");
    }
}

/// One line for each key, in order; or the value of one key.
fn config(key: Option<&str>) -> Result<String, store::Error> {
    if let Some(key) = key {
        return Ok(match store::get(key)? {
            Some(value) => format!("{value}\n"),
            None => "none\n".to_owned(),
        });
    }
    let mut all = store::get_all()?;
    all.sort();
    Ok(all.iter().map(|(key, value)| format!("{key}={value}\n")).collect())
}
