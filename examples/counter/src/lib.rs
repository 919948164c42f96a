//! Counts the requests for each path in `wasi:keyvalue`, and answers with the number.
//!
//! The increment is atomic, so that any number of instances may count at once.

use wasip2::{
    exports::http::incoming_handler::Guest,
    http::types::{
        ErrorCode, Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse,
        ResponseOutparam,
    },
};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package backplane:counter;
            world counter {
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
            }
        ",
        path: "../../wit/wasi-keyvalue-0.2.0-draft2",
        generate_all,
    });
}

use bindings::wasi::keyvalue::{
    atomics,
    store::{self, Error},
};

/// The bucket that the counts are in; `backplane.toml` grants it.
const BUCKET: &str = "default";

struct Counter;

wasip2::http::proxy::export!(Counter);

impl Guest for Counter {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        match request.method() {
            Method::Get => match count(path) {
                Ok(count) => respond(out, 200, &format!("{count}\n")),
                Err(error) => respond(out, status(&error), &format!("{}\n", explain(&error))),
            },
            _ => respond(out, 405, "only GET counts\n"),
        }
    }
}

/// Adds one to the count of `path`.
fn count(path: &str) -> Result<i64, Error> {
    let bucket = store::open(BUCKET)?;
    atomics::increment(&bucket, path, 1)
}

fn status(error: &Error) -> u16 {
    match error {
        Error::NoSuchStore | Error::AccessDenied => 500,
        Error::Other(_) => 503,
    }
}

fn explain(error: &Error) -> String {
    match error {
        Error::NoSuchStore => format!("there is no bucket `{BUCKET}`"),
        Error::AccessDenied => format!("the bucket `{BUCKET}` is not granted to this workload"),
        Error::Other(reason) => format!("the store failed: {reason}"),
    }
}

fn respond(out: ResponseOutparam, status: u16, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let (Ok(()), Ok(body)) = (response.set_status_code(status), response.body()) else {
        return ResponseOutparam::set(out, Err(ErrorCode::InternalError(None)));
    };
    ResponseOutparam::set(out, Ok(response));

    let written = body.write().map(|output| output.blocking_write_and_flush(text.as_bytes()));
    // A body that is not finished tells the client that the response is incomplete.
    if let Ok(Ok(())) = written
        && let Err(error) = OutgoingBody::finish(body, None)
    {
        eprintln!("the response did not end well: {error}");
    }
}
