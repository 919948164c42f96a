//! A guest over `wasi:http` 0.3 that tells its instance's requests: it answers with how many the
//! instance has begun, this one included. The path says what it does before or besides:
//!
//! | path | does |
//! |---|---|
//! | `/sleep?ms=N` | waits N milliseconds |
//! | `/hang` | waits for ever |
//! | `/call?ms=N&wait=M` | waits for a provider's `async func`, after M milliseconds |
//! | `/trap` | traps |
//! | `/loop` | computes for ever |
//! | `/step?ms=N` | computes for N milliseconds, one after the other, and waits between them |
//! | `/grow?mib=N` | takes N MiB of memory and gives them back |
//! | `/error` | answers with an error |
//! | `/stream?bytes=N&ms=M` | sends N bytes, and waits M milliseconds before each ten thousand |
//! | `/behind?ms=N` | waits N milliseconds more when it has answered |
//! | `/trap-behind` | traps when it has answered |
//! | `/behind-done` | answers with how many of those have come to their end |
//! | `/count-body` | reads the request's body first |
//! | `/log?text=T` | writes T to standard output |

use std::{
    hint::black_box,
    sync::atomic::{AtomicU32, Ordering},
};

use guest_support::Target;
use wasip3::{
    clocks::monotonic_clock::{self, wait_for},
    exports::http::handler::Guest,
    http::types::{ErrorCode, Fields, Request, Response},
    wit_bindgen as wasip3_bindgen, wit_future, wit_stream,
};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package backplane:shared-p3;
            world shared-p3 {
                import probe:types/concurrent@1.0.0;
            }
        ",
        path: "../../extensions/probe/wit/deps/probe-types",
        generate_all,
    });
}

use bindings::probe::types::concurrent;

/// Requests that this instance has begun.
static BEGUN: AtomicU32 = AtomicU32::new(0);

/// Requests of `/behind` that have come to their end.
static BEHIND: AtomicU32 = AtomicU32::new(0);

/// How much of a body is sent at a time.
const CHUNK: u64 = 10_000;

const MILLISECOND: u64 = 1_000_000;

struct Shared;

wasip3::http::service::export!(Shared);

impl Guest for Shared {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = Target::parse(&request.get_path_with_query().unwrap_or_default());
        let milliseconds = target.number("ms", 0);
        let count = BEGUN.fetch_add(1, Ordering::Relaxed) + 1;
        match target.path() {
            "/sleep" => wait_for(milliseconds * MILLISECOND).await,
            "/hang" => wait_for(u64::MAX / 2).await,
            "/call" => {
                if let Some(wait) = target.text("wait").and_then(|wait| wait.parse::<u64>().ok()) {
                    wait_for(wait * MILLISECOND).await;
                }
                let milliseconds = u32::try_from(milliseconds).unwrap_or(u32::MAX);
                concurrent::sleep(milliseconds).await;
            }
            "/trap" => core::arch::wasm32::unreachable(),
            "/loop" => loop {
                black_box(());
            },
            "/step" => {
                for _ in 0..milliseconds {
                    let end = monotonic_clock::now() + MILLISECOND;
                    while monotonic_clock::now() < end {}
                    wait_for(1).await;
                }
            }
            "/grow" => {
                let mebibytes = usize::try_from(target.number("mib", 1)).unwrap_or(usize::MAX);
                drop(black_box(vec![1_u8; mebibytes << 20]));
            }
            "/error" => return Err(ErrorCode::InternalError(Some("as asked".to_owned()))),
            "/stream" => return Ok(stream(target.number("bytes", 0), milliseconds)),
            "/behind-done" => return Ok(text(BEHIND.load(Ordering::Relaxed))),
            "/behind" => {
                wasip3_bindgen::spawn_local(async move {
                    wait_for(milliseconds * MILLISECOND).await;
                    BEHIND.fetch_add(1, Ordering::Relaxed);
                });
            }
            "/trap-behind" => wasip3_bindgen::spawn_local(async {
                wait_for(100 * MILLISECOND).await;
                core::arch::wasm32::unreachable()
            }),
            "/count-body" => return Ok(count_body(request).await),
            "/log" => println!("{}", target.text("text").unwrap_or("a line")),
            _ => {}
        }
        Ok(text(count))
    }
}

/// A response of a number, written after `handle` has returned.
fn text(number: impl ToString) -> Response {
    let (mut writer, body) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
    let line = format!("{}\n", number.to_string());
    wasip3_bindgen::spawn_local(async move {
        // What the client did not read comes back; there is nothing to do about it.
        drop(writer.write_all(line.into_bytes()).await);
    });
    response
}

/// A response of so many bytes, with a wait before each piece.
fn stream(bytes: u64, milliseconds: u64) -> Response {
    let (mut writer, body) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
    wasip3_bindgen::spawn_local(async move {
        let mut left = bytes;
        while left > 0 {
            if milliseconds > 0 {
                wait_for(milliseconds * MILLISECOND).await;
            }
            let size = left.min(CHUNK);
            let piece = vec![b'x'; usize::try_from(size).unwrap_or_default()];
            if !writer.write_all(piece).await.is_empty() {
                // The client is gone, and the task stays.
                wait_for(u64::MAX / 2).await;
            }
            left -= size;
        }
    });
    response
}

async fn count_body(request: Request) -> Response {
    let (_, received) = wit_future::new(|| Ok(()));
    let (body, _trailers) = Request::consume_body(request, received);
    text(body.collect().await.len())
}
