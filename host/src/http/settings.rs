//! What a client may take of the server: connections, time, and room for heads.

use std::time::Duration;

/// The limits of every listener of a host, which together have no more. All are on by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Connections that are open at once; more wait to be accepted.
    pub connections: usize,
    /// Bytes of a request's head, and of a chunked body's trailers.
    pub head_size: usize,
    /// Header fields of a request.
    pub head_fields: usize,
    /// Time from the first byte of a request's head to its last (HTTP/1.1, and the opening of HTTP/2).
    pub head_timeout: Option<Duration>,
    /// Time that a connection stays open without a request.
    pub idle_timeout: Option<Duration>,
    /// Time in which a byte of a request's body has to come, where the guest waits for it.
    pub body_timeout: Option<Duration>,
    /// Time in which the client has to take something of a response, where it has been written.
    pub write_timeout: Option<Duration>,
    /// What is HTTP/2's own.
    pub http2: Http2,
}

/// The limits of an HTTP/2 connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2 {
    /// Streams that a client may have open at once.
    pub streams: u32,
    /// Streams that a client may reset before the server has begun with them, and errors of streams
    /// that the server answers with a reset, before the connection is closed.
    pub resets: usize,
    /// Bytes of one stream that a client may send ahead of the guest, at least 65,535.
    pub stream_window: u32,
    /// Bytes of all streams together.
    pub connection_window: u32,
    /// How often a client is asked whether it is still there, and how long it has to answer.
    pub ping: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 16_384,
            head_size: 32 << 10,
            head_fields: 100,
            head_timeout: Some(Duration::from_secs(10)),
            idle_timeout: Some(Duration::from_secs(60)),
            body_timeout: Some(Duration::from_secs(10)),
            write_timeout: Some(Duration::from_secs(30)),
            http2: Http2::default(),
        }
    }
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            streams: 128,
            resets: 64,
            stream_window: 256 << 10,
            connection_window: 1 << 20,
            ping: Some(Duration::from_secs(30)),
        }
    }
}
