//! What the HTTP guests of the tests share: reading a request, writing a response.

use std::io::{self, Read as _, Write as _};

use wasip2::{
    http::types::{
        ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
    },
    io::streams::OutputStream,
};

/// Where a request goes: the path, and the parameters after `?`.
#[derive(Debug)]
pub struct Target {
    path: String,
    query: Vec<(String, String)>,
}

impl Target {
    /// Reads it from a request.
    pub fn of(request: &IncomingRequest) -> Self {
        Self::parse(&request.path_with_query().unwrap_or_default())
    }

    /// Reads it from a path with its query.
    pub fn parse(target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = query
            .split('&')
            .filter(|part| !part.is_empty())
            .map(|part| part.split_once('=').unwrap_or((part, "")))
            .map(|(name, value)| (decode(name), decode(value)))
            .collect();
        Self { path: decode(path), query }
    }

    /// The path, decoded.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Every parameter, decoded, in order.
    pub fn query(&self) -> impl Iterator<Item = (&str, &str)> {
        self.query.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first parameter of that name.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.query().find(|(is, _)| *is == name).map(|(_, value)| value)
    }

    /// The first parameter of that name as a number; `default` if it is not there or not one.
    pub fn number(&self, name: &str, default: u64) -> u64 {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }
}

/// Undoes percent encoding; what is not well encoded stays as it is.
fn decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let (Some((high, low)), [_, _, after @ ..]) = (escaped, tail) {
            decoded.push(high << 4 | low);
            rest = after;
        } else {
            decoded.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| digit.try_into().ok())
}

/// The whole body of a request.
pub fn body(request: &IncomingRequest) -> io::Result<Vec<u8>> {
    let body = request.consume().map_err(|()| io::Error::other("the body was taken before"))?;
    let mut stream = body.stream().map_err(|()| io::Error::other("the body has no stream"))?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A response that has begun. Dropped without [`Response::finish`], the client sees it cut off.
#[derive(Debug)]
pub struct Response {
    stream: OutputStream,
    body: OutgoingBody,
}

impl Response {
    /// Sends the head of a response.
    pub fn begin(out: ResponseOutparam, status: u16) -> io::Result<Self> {
        Self::begin_with(out, status, Fields::new())
    }

    /// Sends the head of a response, with header fields.
    pub fn begin_with(out: ResponseOutparam, status: u16, fields: Fields) -> io::Result<Self> {
        let response = OutgoingResponse::new(fields);
        let (Ok(()), Ok(body)) = (response.set_status_code(status), response.body()) else {
            ResponseOutparam::set(out, Err(ErrorCode::InternalError(None)));
            return Err(io::Error::other("this is no status of a response"));
        };
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().map_err(|()| io::Error::other("the body has no stream"))?;
        Ok(Self { stream, body })
    }

    /// Where its body is written.
    pub fn stream(&mut self) -> &mut OutputStream {
        &mut self.stream
    }

    /// Ends the body.
    pub fn finish(self) -> io::Result<()> {
        self.finish_with(None)
    }

    /// Ends the body, with trailers.
    pub fn finish_with(self, trailers: Option<Fields>) -> io::Result<()> {
        self.stream.blocking_flush().map_err(|error| io::Error::other(error.to_string()))?;
        drop(self.stream);
        OutgoingBody::finish(self.body, trailers)
            .map_err(|error| io::Error::other(error.to_string()))
    }
}

/// Sends a whole response. A client that does not want it is not the guest's concern.
pub fn respond(out: ResponseOutparam, status: u16, body: impl AsRef<[u8]>) {
    let sent = Response::begin(out, status).and_then(|mut response| {
        response.stream().write_all(body.as_ref())?;
        response.finish()
    });
    if let Err(error) = sent {
        eprintln!("the response was not sent: {error}");
    }
}
