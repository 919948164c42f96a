//! Greets whoever is named in the path, by a template that a component extension fills: the one in
//! [`python/`](../python), or any other that provides `demo:render/templates`.

use wasip2::{
    exports::http::incoming_handler::Guest,
    http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam},
};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package demo:greeter;
            world greeter {
                import demo:render/templates@1.0.0;
            }
        ",
        path: "python/wit",
        generate_all,
    });
}

use bindings::demo::render::templates::fill;

struct Greeter;

wasip2::http::proxy::export!(Greeter);

impl Guest for Greeter {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let name = path.trim_start_matches('/').to_owned();
        // Without a name there is no value for it, which is the extension's error.
        let values = if name.is_empty() { Vec::new() } else { vec![("name".to_owned(), name)] };
        match fill("Hello, ${name}!\n", &values) {
            Ok(text) => respond(out, 200, &text),
            Err(error) => respond(out, 400, &format!("{error}\n")),
        }
    }
}

/// Sends the whole response. A client that does not want it is not the guest's concern.
fn respond(out: ResponseOutparam, status: u16, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    if response.set_status_code(status).is_err() {
        return;
    }
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    let written = body.write().map(|stream| stream.blocking_write_and_flush(text.as_bytes()));
    if let Ok(Ok(())) = written {
        OutgoingBody::finish(body, None).ok();
    }
}
