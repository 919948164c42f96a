//! Opens `buckets` buckets (by default 3, of the name in `bucket`, by default `default`), and ends
//! while it holds them. The path says how:
//!
//! | path | does |
//! |---|---|
//! | `/trap` | traps before it answers |
//! | `/trap-late` | traps after it has answered |
//! | `/leak` | answers, and never drops them |
//! | `/loop` | computes for ever |
//! | `/hang` | waits for ever and uses no CPU |
//!
//! Anything else drops them and answers with how many there were.

use std::{hint::black_box, mem};

use guest_support::{Target, respond};
use wasip2::{
    clocks::monotonic_clock,
    exports::http::incoming_handler::Guest,
    http::types::{IncomingRequest, ResponseOutparam},
};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package backplane:hold;
            world hold {
                import wasi:keyvalue/store@0.2.0-draft2;
            }
        ",
        path: "../../../wit/wasi-keyvalue-0.2.0-draft2",
        generate_all,
    });
}

use bindings::wasi::keyvalue::store::{self, Bucket, Error};

struct Hold;

wasip2::http::proxy::export!(Hold);

impl Guest for Hold {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::of(&request);
        let bucket = target.text("bucket").unwrap_or("default");
        let held: Vec<Bucket> = match open(bucket, target.number("buckets", 3)) {
            Ok(held) => held,
            Err(error) => return respond(out, 500, format!("{error:?}\n")),
        };
        let count = format!("{}\n", held.len());
        match target.path() {
            "/trap" => core::arch::wasm32::unreachable(),
            "/trap-late" => {
                respond(out, 200, count);
                core::arch::wasm32::unreachable()
            }
            "/leak" => {
                mem::forget(held);
                respond(out, 200, count);
            }
            "/loop" => loop {
                black_box(());
            },
            "/hang" => loop {
                monotonic_clock::subscribe_duration(u64::MAX / 2).block();
            },
            _ => {
                drop(held);
                respond(out, 200, count);
            }
        }
    }
}

fn open(bucket: &str, count: u64) -> Result<Vec<Bucket>, Error> {
    (0..count).map(|_| store::open(bucket)).collect()
}
