//! A counter over `wasi:http` 0.3 that imports 0.2 interfaces as well: the clock and the
//! environment through the standard library, and `wasi:keyvalue`, whose functions are plain `func`s.
//!
//! `/now` answers with the time in seconds since 1970, `/environment` with the environment, and any
//! other path with its count.

use std::{
    env,
    time::{SystemTime, UNIX_EPOCH},
};

use wasip3::{
    exports::http::handler::Guest,
    http::types::{ErrorCode, Fields, Request, Response},
    wit_bindgen as wasip3_bindgen, wit_future, wit_stream,
};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package backplane:counter-p3;
            world counter-p3 {
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
            }
        ",
        path: "../../../wit/wasi-keyvalue-0.2.0-draft2",
        generate_all,
    });
}

use bindings::wasi::keyvalue::{
    atomics,
    store::{self, Error},
};

struct Counter;

wasip3::http::service::export!(Counter);

impl Guest for Counter {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        match path.as_str() {
            "/now" => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                respond(200, format!("{}\n", now.as_secs()))
            }
            "/environment" => {
                let mut variables: Vec<_> =
                    env::vars().map(|(name, value)| format!("{name}={value}\n")).collect();
                variables.sort();
                respond(200, variables.concat())
            }
            path => match count(path) {
                Ok(count) => respond(200, format!("{count}\n")),
                Err(error) => respond(500, format!("{error:?}\n")),
            },
        }
    }
}

fn count(path: &str) -> Result<i64, Error> {
    let bucket = store::open("default")?;
    atomics::increment(&bucket, path, 1)
}

/// A response whose body is written after `handle` has returned.
fn respond(status: u16, text: String) -> Result<Response, ErrorCode> {
    let (mut writer, body) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
    response.set_status_code(status).map_err(|()| ErrorCode::InternalError(None))?;
    wasip3_bindgen::spawn_local(async move {
        // What the client did not read comes back; there is nothing to do about it.
        drop(writer.write_all(text.into_bytes()).await);
    });
    Ok(response)
}
