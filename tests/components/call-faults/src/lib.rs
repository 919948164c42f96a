//! Calls a function of the fixture extension `probe`, by its name: `/panic` calls `panic`. `/` calls none; `/thousand` makes
//! a thousand resources and keeps them, `/bomb` one whose destructor panics. `?ms=` is how long `/sleep` and `/block` take,
//! `?kind=` which failure `/fail` has.

use guest_support::{Target, respond};
use wasip2::{
    exports::http::incoming_handler::Guest,
    http::types::{IncomingRequest, ResponseOutparam},
};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package backplane:call-faults;
            world call-faults {
                import probe:types/faults@1.0.0;
                import probe:types/resources@1.0.0;
            }
        ",
        path: "../../extensions/probe/wit/deps/probe-types",
        generate_all,
    });
}

use bindings::probe::types::{
    faults::{self, Kind},
    resources::{Bomb, make_many},
};

struct Call;

wasip2::http::proxy::export!(Call);

impl Guest for Call {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::of(&request);
        let milliseconds = u32::try_from(target.number("ms", 0)).unwrap_or(u32::MAX);
        let answer = match target.path() {
            "/" => 0,
            "/panic" => faults::panic("as asked"),
            "/panic-later" => faults::panic_later("as asked"),
            "/panic-any" => {
                faults::panic_any();
                0
            }
            "/fail" => faults::fail(kind(target.number("kind", 0)), "as asked"),
            "/fail-later" => match faults::fail_later("as asked") {
                Ok(answer) => answer,
                // What the guest is told.
                Err(error) => return respond(out, 200, format!("{error}\n")),
            },
            "/never" => {
                faults::never();
                0
            }
            "/never-and-panic" => {
                faults::never_and_panic();
                0
            }
            "/waiting" => faults::waiting(),
            "/sleep" => faults::sleep(milliseconds),
            "/block" => faults::block(milliseconds),
            "/malformed-string" => faults::malformed_string().len() as u32,
            "/truncated" => faults::truncated().0,
            "/trailing" => faults::trailing(),
            "/endless-list" => faults::endless_list().len() as u32,
            "/no-such-case" => faults::no_such_case() as u32,
            "/bomb" => u32::from(Bomb::new().ticks()),
            "/thousand" => {
                let things = make_many(1000);
                let count = things.len() as u32;
                core::mem::forget(things);
                count
            }
            "/live" => bindings::probe::types::resources::live(),
            path => return respond(out, 404, format!("no `{path}` here\n")),
        };
        respond(out, 200, format!("{answer}\n"));
    }
}

fn kind(number: u64) -> Kind {
    match number {
        1 => Kind::Panicked,
        2 => Kind::Unimplemented,
        3 => Kind::BadArguments,
        4 => Kind::Unavailable,
        5 => Kind::Deadline,
        6 => Kind::Denied,
        _ => Kind::Other,
    }
}
