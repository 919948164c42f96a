//! Calls a function of the fixture extension `probe`. The path says which:
//!
//! | path | calls |
//! |---|---|
//! | `/` | none |
//! | `/panic` | one that panics |
//! | `/sleep?ms=` | one that waits so long |
//! | `/block?ms=` | one that blocks its thread so long |

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
            }
        ",
        path: "../../extensions/probe/wit/deps/probe-types",
        generate_all,
    });
}

use bindings::probe::types::faults::{block, panic, sleep};

struct Call;

wasip2::http::proxy::export!(Call);

impl Guest for Call {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::of(&request);
        let milliseconds = u32::try_from(target.number("ms", 0)).unwrap_or(u32::MAX);
        let answer = match target.path() {
            "/" => 0,
            "/panic" => panic("as asked"),
            "/sleep" => sleep(milliseconds),
            "/block" => block(milliseconds),
            path => return respond(out, 404, format!("no `{path}` here\n")),
        };
        respond(out, 200, format!("{answer}\n"));
    }
}
