//! Has the fixture extension `probe` call it. What the path names is asked of the extension, which then calls
//! what this component exports:
//!
//! | path | asks for |
//! |---|---|
//! | `/turn?text=` | a note that is turned round |
//! | `/wide` | a call with more than passes flat |
//! | `/exchange?label=` | a thing that is given and another that comes back |
//! | `/misbehave?how=` | a call that ends so |
//! | `/many?calls=&how=` | so many of them at once |
//! | `/give-up?how=&ms=` | one of them, for so long |
//! | `/nest?times=` | calls that lead to calls |
//! | `/absent` | a call of what is not exported |
//! | `/malformed` | a call with other arguments than the function takes |

use std::{cell::RefCell, hint::black_box};

use guest_support::{Target, respond};
use wasip2::{
    clocks::monotonic_clock::subscribe_duration,
    exports::http::incoming_handler::Guest as Http,
    http::types::{IncomingRequest, ResponseOutparam},
};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package backplane:callee;
            world callee {
                import probe:types/caller@1.0.0;
                export probe:types/callbacks@1.0.0;
            }
        ",
        path: "../../extensions/probe/wit/deps/probe-types",
        generate_all,
    });
}

use bindings::{
    exports::probe::types::callbacks::{Guest, Note, Thing},
    probe::types::caller,
};

struct Callee;

wasip2::http::proxy::export!(Callee);
bindings::export!(Callee with_types_in bindings);

thread_local! {
    static KEPT: RefCell<Vec<Thing>> = const { RefCell::new(Vec::new()) };
}

impl Http for Callee {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::of(&request);
        let text = |name| target.text(name).unwrap_or_default();
        let number = |name| u32::try_from(target.number(name, 1)).unwrap_or(u32::MAX);
        let answer = match target.path() {
            "/turn" => caller::turn(text("text")),
            "/wide" => caller::wide(),
            "/exchange" => caller::exchange(text("label")).map(|back| format!("{back:?}")),
            "/misbehave" => caller::misbehave(text("how")),
            "/many" => Ok(format!("{:?}", caller::many(number("calls"), text("how")))),
            "/give-up" => caller::give_up(text("how"), number("ms")),
            "/nest" => caller::nest(number("times")).map(|depth| depth.to_string()),
            "/absent" => caller::absent(),
            "/malformed" => caller::malformed(),
            path => return respond(out, 404, format!("no `{path}` here\n")),
        };
        match answer {
            Ok(answer) => respond(out, 200, format!("{answer}\n")),
            Err(error) => respond(out, 502, format!("{error}\n")),
        }
    }
}

impl Guest for Callee {
    fn turn(note: Note) -> Note {
        let Note { text, mut numbers, nested } = note;
        numbers.reverse();
        Note { text: text.chars().rev().collect(), numbers, nested }
    }

    fn wide(
        a: u8,
        b: u64,
        c: String,
        d: String,
        e: String,
        f: String,
        g: String,
        h: String,
        i: String,
        j: f32,
    ) -> String {
        format!("{a} {b} {c}{d}{e}{f}{g}{h}{i} {j}")
    }

    fn exchange(thing: Thing) -> Thing {
        let label = thing.label();
        Thing::new(&label.repeat(2))
    }

    fn misbehave(how: String) -> Result<String, String> {
        match how.as_str() {
            "answer" => Ok("answered".to_owned()),
            "wait" => {
                subscribe_duration(200_000_000).block();
                Ok("waited".to_owned())
            }
            "fail" => Err("failed, as asked".to_owned()),
            "trap" => core::arch::wasm32::unreachable(),
            "loop" => loop {
                black_box(&how);
            },
            "grow" => {
                let mut kept = Vec::new();
                loop {
                    kept.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            "keep" => KEPT.with_borrow_mut(|kept| {
                kept.push(Thing::new("kept"));
                Ok(kept.len().to_string())
            }),
            _ => Err(format!("no `{how}` here")),
        }
    }

    fn nest(times: u32) -> Result<u32, String> {
        caller::nest(times)
    }
}
