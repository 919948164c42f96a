//! `wasi:keyvalue` 0.2.0-draft over HTTP, a function a path:
//!
//! | path | answers with |
//! |---|---|
//! | `/increment?key=K&delta=N` | the new number |
//! | `/get?key=K` | the value; 404 if there is none |
//! | `/set?key=K&value=V` | `ok`; without `value`, the request's body is the value |
//! | `/delete?key=K` | `ok` |
//! | `/exists?key=K` | `true` or `false` |
//! | `/keys`, `/keys?cursor=N` | a key a line; if there are more, last `cursor N` |
//! | `/get-many?key=K&key=L` | a line for each: `K=V`, or `none` |
//! | `/set-many?K=V&L=W` | `ok` |
//! | `/delete-many?key=K&key=L` | `ok` |
//!
//! `bucket=NAME` opens another bucket than `default`. A store's error is answered
//! with 500 and its case.

use guest_support::{Target, body, respond};
use wasip2::{
    exports::http::incoming_handler::Guest,
    http::types::{IncomingRequest, ResponseOutparam},
};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package backplane:old-counter;
            world old-counter {
                include wasi:keyvalue/imports@0.2.0-draft;
            }
        ",
        path: "../../../wit/wasi-keyvalue-0.2.0-draft",
        generate_all,
    });
}

use bindings::wasi::keyvalue::{
    atomics, batch,
    store::{self, Error},
};

struct OldCounter;

wasip2::http::proxy::export!(OldCounter);

impl Guest for OldCounter {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::of(&request);
        match answer(&target, &request) {
            Ok(Some(bytes)) => respond(out, 200, bytes),
            Ok(None) => respond(out, 404, "none\n"),
            Err(Error::NoSuchStore) => respond(out, 500, "no-such-store\n"),
            Err(Error::AccessDenied) => respond(out, 500, "access-denied\n"),
            Err(Error::Other(reason)) => respond(out, 500, format!("other: {reason}\n")),
        }
    }
}

/// What to answer; none for a path or a key that does not exist.
fn answer(target: &Target, request: &IncomingRequest) -> Result<Option<Vec<u8>>, Error> {
    let bucket = store::open(target.text("bucket").unwrap_or("default"))?;
    let key = target.text("key").unwrap_or("count");
    let keys = || target.query().filter(|(name, _)| *name == "key").map(|(_, key)| key.to_owned());
    let text = |text: String| Ok(Some(format!("{text}\n").into_bytes()));
    match target.path() {
        "/increment" => {
            text(atomics::increment(&bucket, key, target.number("delta", 1))?.to_string())
        }
        "/get" => bucket.get(key),
        "/set" => {
            let value = match target.text("value") {
                Some(value) => value.as_bytes().to_vec(),
                None => body(request).map_err(|error| Error::Other(error.to_string()))?,
            };
            bucket.set(key, &value)?;
            text("ok".to_owned())
        }
        "/delete" => {
            bucket.delete(key)?;
            text("ok".to_owned())
        }
        "/exists" => text(bucket.exists(key)?.to_string()),
        "/keys" => {
            let cursor = target.text("cursor").and_then(|cursor| cursor.parse().ok());
            let page = bucket.list_keys(cursor)?;
            let more = page.cursor.map(|cursor| format!("cursor {cursor}"));
            text(page.keys.into_iter().chain(more).collect::<Vec<_>>().join("\n"))
        }
        "/get-many" => {
            let line = |found: Option<(String, Vec<u8>)>| match found {
                Some((key, value)) => format!("{key}={}", String::from_utf8_lossy(&value)),
                None => "none".to_owned(),
            };
            let found = batch::get_many(&bucket, &keys().collect::<Vec<_>>())?;
            text(found.into_iter().map(line).collect::<Vec<_>>().join("\n"))
        }
        "/set-many" => {
            let pairs: Vec<_> = target
                .query()
                .filter(|(name, _)| *name != "bucket")
                .map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()))
                .collect();
            batch::set_many(&bucket, &pairs)?;
            text("ok".to_owned())
        }
        "/delete-many" => {
            batch::delete_many(&bucket, &keys().collect::<Vec<_>>())?;
            text("ok".to_owned())
        }
        _ => Ok(None),
    }
}
