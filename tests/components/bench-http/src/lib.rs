//! The guest of `cargo xtask bench http` over `wasi:http` 0.2: `/bytes/N` is answered with N bytes.

use wasip2::{
    exports::http::incoming_handler::Guest,
    http::types::{
        ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
    },
    io::streams::{OutputStream, StreamError},
};

/// The most that is written at a time.
static CHUNK: [u8; 64 << 10] = [0; 64 << 10];

struct Bench;

wasip2::http::proxy::export!(Bench);

impl Guest for Bench {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let headers = Fields::new();
        let bytes = path.strip_prefix("/bytes/").and_then(|bytes| bytes.parse().ok());
        let length = bytes.unwrap_or(0_u64).to_string();
        let has_length = headers.append("content-length", length.as_bytes()).is_ok();
        let response = OutgoingResponse::new(headers);
        let has_status = bytes.is_some() || response.set_status_code(404).is_ok();
        let (true, true, Ok(body)) = (has_length, has_status, response.body()) else {
            return ResponseOutparam::set(out, Err(ErrorCode::InternalError(None)));
        };
        ResponseOutparam::set(out, Ok(response));

        let written = match bytes {
            None | Some(0) => Ok(()),
            Some(bytes) => body.write().map_or(Ok(()), |output| write(&output, bytes)),
        };
        // A body that is not finished tells the client that the response is incomplete.
        if written.is_ok()
            && let Err(error) = OutgoingBody::finish(body, None)
        {
            eprintln!("the response did not end well: {error}");
        }
    }
}

/// Writes so many bytes, as many at a time as the host takes.
fn write(output: &OutputStream, bytes: u64) -> Result<(), StreamError> {
    let mut left = bytes;
    while left > 0 {
        let taken = output.check_write()?.min(left).min(CHUNK.len() as u64);
        let chunk = usize::try_from(taken).ok().and_then(|taken| CHUNK.get(..taken));
        match chunk {
            None | Some([]) => output.subscribe().block(),
            Some(chunk) => output.write(chunk)?,
        }
        left -= taken;
    }
    Ok(())
}
