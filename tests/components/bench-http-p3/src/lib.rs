//! The guest of `cargo xtask bench http` over `wasi:http` 0.3: `/bytes/N` is answered with N bytes.

use wasip3::{
    exports::http::handler::Guest,
    http::types::{ErrorCode, Fields, Request, Response},
    wit_bindgen, wit_future, wit_stream,
};

/// The most that is written at a time.
const CHUNK: usize = 64 << 10;

struct Bench;

wasip3::http::service::export!(Bench);

impl Guest for Bench {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let bytes = path.strip_prefix("/bytes/").and_then(|bytes| bytes.parse().ok());
        let failed = |_| ErrorCode::InternalError(None);
        let headers = Fields::new();
        let length = bytes.unwrap_or(0_usize).to_string();
        headers.append("content-length", length.as_bytes()).map_err(failed)?;
        let (_, trailers) = wit_future::new(|| Ok(None));
        let body = bytes.filter(|&bytes| bytes > 0).map(|bytes| {
            let (mut writer, body) = wit_stream::new();
            wit_bindgen::spawn_local(async move {
                let mut left = bytes;
                while left > 0 {
                    let size = left.min(CHUNK);
                    if !writer.write_all(vec![0; size]).await.is_empty() {
                        // The client is gone.
                        return;
                    }
                    left -= size;
                }
            });
            body
        });
        let (response, _sent) = Response::new(headers, body, trailers);
        if bytes.is_none() {
            response.set_status_code(404).map_err(|()| ErrorCode::InternalError(None))?;
        }
        Ok(response)
    }
}
