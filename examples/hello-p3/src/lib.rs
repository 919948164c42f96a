//! Answers "Hello from Backplane" over `wasi:http` 0.3, and at `/echo` sends the request's body
//! back while it comes in.

use wasip3::{
    exports::http::handler::Guest,
    http::types::{ErrorCode, Fields, Request, Response},
    wit_bindgen, wit_future, wit_stream,
};

struct Hello;

wasip3::http::service::export!(Hello);

impl Guest for Hello {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        match path.split('?').next() {
            Some("/echo") => Ok(echo(request)),
            _ => Ok(text("Hello from Backplane\n")),
        }
    }
}

/// A response of one text, written after `handle` has returned.
fn text(text: &'static str) -> Response {
    let (mut writer, body) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
    wit_bindgen::spawn_local(async move {
        // What the client did not read comes back; there is nothing to do about it.
        drop(writer.write_all(text.as_bytes().to_vec()).await);
    });
    response
}

/// Gives the request's body and trailers to the response; the bytes do not pass through the guest.
fn echo(request: Request) -> Response {
    let (_, received) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(request, received);
    let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
    response
}
