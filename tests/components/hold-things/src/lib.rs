//! Makes `things` things (by default 3) of the fixture extension `probe`, which counts those that live,
//! and ends while it holds them. The path says how:
//!
//! | path | does |
//! |---|---|
//! | `/live` | answers with how many live, over all instances |
//! | `/hold` | the same, while it holds its own |
//! | `/trap` | traps before it answers |
//! | `/loop` | computes for ever |
//! | `/grow` | takes memory without end |
//! | `/leak` | answers, and never drops them |

use std::{hint::black_box, mem};

use guest_support::{Target, respond};
use wasip2::{
    exports::http::incoming_handler::Guest,
    http::types::{IncomingRequest, ResponseOutparam},
};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package backplane:hold-things;
            world hold-things {
                import probe:types/resources@1.0.0;
            }
        ",
        path: "../../extensions/probe/wit/deps/probe-types",
        generate_all,
    });
}

use bindings::probe::types::resources::{Thing, live};

struct Hold;

wasip2::http::proxy::export!(Hold);

impl Guest for Hold {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::of(&request);
        if target.path() == "/live" {
            return respond(out, 200, format!("{}\n", live()));
        }
        let held: Vec<_> =
            (0..target.number("things", 3)).map(|n| Thing::new(&n.to_string())).collect();
        let count = format!("{}\n", live());
        match target.path() {
            "/hold" => respond(out, 200, count),
            "/trap" => core::arch::wasm32::unreachable(),
            "/loop" => loop {
                black_box(&held);
            },
            "/grow" => {
                let mut kept = Vec::new();
                loop {
                    kept.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            "/leak" => {
                mem::forget(held);
                respond(out, 200, count);
            }
            path => respond(out, 404, format!("no `{path}` here\n")),
        }
    }
}
