//! Uses the shelf as the path says:
//!
//! | path | does |
//! |---|---|
//! | `/add?number=` | adds to the shelf's number |
//! | `/items?label=` | makes items, joins and compares them |
//! | `/open?label=` | opens one, which may fail |
//! | `/keep?label=` | keeps an item for the requests that come |
//! | `/kept` | reads its label |
//! | `/live` | how many items there are |
//! | `/echo?size=` | sends so many bytes there and back |
//! | `/wide` | more than passes flat |
//! | `/act?how=` | a call that ends so |
//! | `/leave?label=&how=` | traps, or answers, while it holds an item |

use std::cell::RefCell;

use guest_support::{Target, respond};
use wasip2::{
    exports::http::incoming_handler::Guest as Http,
    http::types::{IncomingRequest, ResponseOutparam},
};

mod bindings {
    wit_bindgen::generate!({ path: "../shelf/wit", world: "user", generate_all });
}

use bindings::acme::shelf::shelf::{self, Item};

struct User;

wasip2::http::proxy::export!(User);

thread_local! {
    static KEPT: RefCell<Option<Item>> = const { RefCell::new(None) };
}

impl Http for User {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::of(&request);
        let text = |name| target.text(name).unwrap_or_default();
        let number = |name| u32::try_from(target.number(name, 1)).unwrap_or(u32::MAX);
        let answer = match target.path() {
            "/add" => Ok(shelf::add(number("number")).to_string()),
            "/items" => Ok(items(text("label"))),
            "/open" => match shelf::open(text("label")) {
                Ok(item) => Ok(format!("{:?}", item.map(|item| item.label()))),
                Err(error) => Err(error),
            },
            "/keep" => {
                KEPT.replace(Some(Item::new(text("label"))));
                Ok("kept".to_owned())
            }
            "/kept" => KEPT.with_borrow(|kept| match kept {
                Some(item) => Ok(item.label()),
                None => Err("nothing is kept".to_owned()),
            }),
            "/live" => Ok(shelf::live().to_string()),
            "/echo" => {
                let data: Vec<u8> = (0..number("size")).map(|byte| byte as u8).collect();
                let back = shelf::echo(&data);
                if back == data { Ok(back.len().to_string()) } else { Err("changed".to_owned()) }
            }
            "/wide" => Ok(shelf::wide(1, u64::MAX, "c", "d", "e", "f", "g", "h", "i", 0.5)),
            "/act" => shelf::act(text("how")),
            "/leave" => {
                let item = Item::new(text("label"));
                if text("how") == "trap" {
                    core::arch::wasm32::unreachable();
                }
                drop(item);
                Ok("left".to_owned())
            }
            path => return respond(out, 404, format!("no `{path}` here\n")),
        };
        match answer {
            Ok(answer) => respond(out, 200, answer),
            Err(error) => respond(out, 502, error),
        }
    }
}

fn items(label: &str) -> String {
    let (first, second) = (Item::new(label), Item::new("second"));
    first.rename(&format!("{}!", first.label()));
    let longer = shelf::longer(&first, &second);
    let joined = Item::joined(first, second);
    format!("{} {longer} {}", joined.label(), shelf::live())
}
