//! Answers "Hello from Backplane" over `wasi:http` 0.2, and at `/echo` sends the request's body
//! back while it comes in.

use wasip2::{
    exports::http::incoming_handler::Guest,
    http::types::{
        ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
    },
    io::streams::{OutputStream, StreamError},
};

/// How many bytes `/echo` asks the host to move at a time.
const CHUNK: u64 = 64 * 1024;

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let response = OutgoingResponse::new(Fields::new());
        let Ok(body) = response.body() else {
            return ResponseOutparam::set(out, Err(ErrorCode::InternalError(None)));
        };
        ResponseOutparam::set(out, Ok(response));

        let Ok(output) = body.write() else { return };
        let written = match path.split('?').next() {
            Some("/echo") => echo(request, &output),
            _ => output.blocking_write_and_flush(b"Hello from Backplane\n"),
        };
        drop(output);
        // A body that is not finished tells the client that the response is incomplete.
        if written.is_ok()
            && let Err(error) = OutgoingBody::finish(body, None)
        {
            eprintln!("the response did not end well: {error}");
        }
    }
}

/// Moves the request's body to `output`; the bytes do not pass through the guest.
fn echo(request: IncomingRequest, output: &OutputStream) -> Result<(), StreamError> {
    let Ok(body) = request.consume() else { return Ok(()) };
    let Ok(input) = body.stream() else { return Ok(()) };
    loop {
        match output.blocking_splice(&input, CHUNK) {
            Ok(_) => {}
            Err(StreamError::Closed) => return output.blocking_flush(),
            Err(error) => return Err(error),
        }
    }
}
