//! HTTP/2 on the wire: malformed and unexpected frames, and what the server must say to each.
//!
//! The rows follow the sections of RFC 9113, and of RFC 7541 for header compression, in the order and
//! with the cases of `h2spec`, the conformance tool that is in common use.

use std::fmt;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{Host, spec, within};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Kinds of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

// Flags.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITISED: u8 = 0x20;

// Error codes (section 7).
const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A field that is in no table (RFC 7541, section 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0];
    for text in [name, value] {
        block.push(u8::try_from(text.len()).unwrap());
        block.extend(text.as_bytes());
    }
    block
}

fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

const AUTHORITY: (&str, &str) = (":authority", "x");
const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/"), AUTHORITY];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/count-body"), AUTHORITY];

/// A request's fields, and more behind them.
fn with(request: &[(&str, &str)], more: &[(&str, &str)]) -> Vec<u8> {
    fields(&[request, more].concat())
}

/// A whole request without a body.
fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields(&GET))
}

/// A request whose body is still to come.
fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &fields(&POST))
}

/// A request of these fields alone.
fn request(list: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(list))
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &payload)
}

fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// What a client sees.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The connection ends with this error.
    Connection(u32),
    /// The connection ends without a word.
    Closed,
    /// The stream ends with this error, and the connection goes on.
    Stream(u32),
    /// The stream is answered with this status.
    Answer(u16),
    /// Nothing, and the connection goes on.
    Nothing,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(code) => write!(f, "GOAWAY {code}"),
            Self::Closed => f.write_str("closed"),
            Self::Stream(code) => write!(f, "RST_STREAM {code}"),
            Self::Answer(status) => write!(f, "{status}"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

use Seen::{Answer, Closed, Connection, Nothing, Stream};

/// A frame as it was read.
struct Frame {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

struct Client(TcpStream);

impl Client {
    async fn connect(host: &Host) -> Self {
        let mut client = Self(TcpStream::connect(host.address).await.unwrap());
        client.0.write_all(PREFACE).await.unwrap();
        client.0.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        let settings = client.read().await.unwrap();
        assert_eq!(settings.kind, SETTINGS, "the server's settings come first (section 3.4)");
        client.0.write_all(&frame(SETTINGS, ACK, 0, &[])).await.unwrap();
        client
    }

    /// The next frame; none where the connection ends.
    async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Frame { kind: head[3], flags: head[4], payload })
    }

    /// Sends the frames and says what comes of them. Where an answer is expected it is waited for; else
    /// until two pings have come back, before which the server has said what it had to.
    async fn sees(&mut self, frames: &[u8], expected: &[Seen]) -> Seen {
        let is_answered = expected.iter().any(|seen| matches!(seen, Answer(_)));
        // A server that has closed the connection does not read on.
        self.0.write_all(frames).await.ok();
        self.0.write_all(&frame(PING, 0, 0, b"00000000")).await.ok();
        let mut seen = Nothing;
        let mut pongs = 0;
        while let Some(Frame { kind, flags, payload }) = self.read().await {
            let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            match kind {
                GOAWAY if code(4) != NO_ERROR || !is_answered => {
                    // Told, it has to end (section 5.4.1).
                    while self.read().await.is_some() {}
                    return Connection(code(4));
                }
                RST_STREAM if !matches!(seen, Answer(_)) => seen = Stream(code(0)),
                HEADERS if seen == Nothing => seen = Answer(status(&payload)),
                PING if flags == ACK && payload == b"00000000" => {
                    pongs += 1;
                    if pongs < 2 {
                        self.0.write_all(&frame(PING, 0, 0, b"00000000")).await.ok();
                    }
                }
                _ => {}
            }
            let is_enough = if is_answered { seen != Nothing } else { true };
            if pongs == 2 && is_enough {
                return seen;
            }
        }
        if is_answered && seen != Nothing { seen } else { Closed }
    }
}

/// The status is the first field. Those that stand in the table of RFC 7541, appendix A; 0 for others.
fn status(block: &[u8]) -> u16 {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    block
        .first()
        .and_then(|index| INDEXED.get(usize::from(index.wrapping_sub(0x88))))
        .copied()
        .unwrap_or(0)
}

struct Row {
    section: &'static str,
    case: &'static str,
    frames: Vec<u8>,
    /// What the section allows.
    expected: &'static [Seen],
}

fn row(
    section: &'static str,
    case: &'static str,
    frames: impl IntoIterator<Item = Vec<u8>>,
    expected: &'static [Seen],
) -> Row {
    Row { section, case, frames: frames.into_iter().flatten().collect(), expected }
}

/// Whether a row's section allows what was seen. Where it names a particular error of the connection, the
/// server's HTTP/2 library (`h2`) often tells the general one; the connection is closed all the same, which
/// is what `h2spec` asks for too.
fn is_allowed(seen: Seen, expected: &[Seen]) -> bool {
    let ends = expected.iter().any(|seen| matches!(seen, Connection(_)));
    expected.contains(&seen) || (ends && seen == Connection(PROTOCOL_ERROR))
}

/// A connection error may be told, or the connection just closed (section 5.4.1).
const PROTOCOL: &[Seen] = &[Connection(PROTOCOL_ERROR), Closed];
const SIZE: &[Seen] = &[Connection(FRAME_SIZE_ERROR), Closed];
const COMPRESSION: &[Seen] = &[Connection(COMPRESSION_ERROR), Closed];
const FLOW: &[Seen] = &[Connection(FLOW_CONTROL_ERROR), Closed];
/// An error of a stream may be taken as one of the connection (section 5.4.2).
const MALFORMED: &[Seen] = &[Stream(PROTOCOL_ERROR), Connection(PROTOCOL_ERROR), Answer(400)];
const ENDED: &[Seen] = &[Connection(STREAM_CLOSED), Stream(STREAM_CLOSED), Closed];

fn frames_and_streams() -> Vec<Row> {
    let open = |more: Vec<u8>| [post(1), more];
    vec![
        row("4.1", "a frame of an unknown kind", [frame(0x16, 0, 0, b"12345678")], &[Nothing]),
        row("4.1", "undefined flags", [frame(PING, 0x16, 0, b"abcdefgh")], &[Nothing]),
        row("4.1", "the reserved bit", [frame(PING, 0, 1 << 31, b"abcdefgh")], &[Nothing]),
        row(
            "4.2",
            "DATA beyond the frame size",
            open(frame(DATA, 0, 1, &[0; 16_385])),
            &[Connection(FRAME_SIZE_ERROR), Stream(FRAME_SIZE_ERROR), Closed],
        ),
        row("4.2", "HEADERS beyond the frame size", [frame(HEADERS, 5, 1, &[0; 16_385])], SIZE),
        row("4.3", "a broken header block", [frame(HEADERS, 5, 1, &[0x40])], COMPRESSION),
        row(
            "4.3",
            "PRIORITY within a header block",
            [frame(HEADERS, 1, 1, &fields(&GET)), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])],
            PROTOCOL,
        ),
        row(
            "4.3",
            "HEADERS of another stream within a header block",
            [frame(HEADERS, 1, 1, &fields(&GET)), get(3)],
            PROTOCOL,
        ),
        row("5.1", "DATA on an idle stream", [frame(DATA, 1, 1, b"x")], PROTOCOL),
        row("5.1", "RST_STREAM on an idle stream", [reset(1)], PROTOCOL),
        row("5.1", "WINDOW_UPDATE on an idle stream", [window(1, 100)], PROTOCOL),
        row("5.1", "CONTINUATION on an idle stream", [frame(CONTINUATION, 4, 1, b"")], PROTOCOL),
        row("5.1", "DATA after the end", [get(1), frame(DATA, 1, 1, b"x")], ENDED),
        row("5.1", "HEADERS after the end", [get(1), get(1)], ENDED),
        row(
            "5.1",
            "CONTINUATION after the end",
            [get(1), frame(CONTINUATION, 4, 1, b"")],
            &[Connection(PROTOCOL_ERROR), Connection(STREAM_CLOSED), Closed],
        ),
        row("5.1", "DATA after RST_STREAM", [post(1), reset(1), frame(DATA, 1, 1, b"x")], ENDED),
        row("5.1", "HEADERS after RST_STREAM", [post(1), reset(1), get(1)], ENDED),
        row("5.1.1", "an even stream", [get(2)], PROTOCOL),
        row(
            "5.1.1",
            "a stream before the last",
            [get(5), get(3)],
            &[Connection(PROTOCOL_ERROR), Connection(STREAM_CLOSED), Closed],
        ),
        row(
            "5.1.2",
            "more streams than the server takes",
            (0..129).map(|n| post(n * 2 + 1)),
            &[Stream(REFUSED_STREAM), Stream(PROTOCOL_ERROR)],
        ),
        row(
            "5.3.1",
            "PRIORITY that depends on itself",
            [frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 9])],
            &[
                // RFC 9113 has no priorities left; RFC 7540 had an error here.
                Nothing,
                Stream(PROTOCOL_ERROR),
                Connection(PROTOCOL_ERROR),
            ],
        ),
        row("5.4.1", "a connection error closes it", [frame(DATA, 0, 0, b"x")], PROTOCOL),
        row(
            "5.5",
            "an unknown frame within a header block",
            [frame(HEADERS, 1, 1, &fields(&GET)), frame(0x16, 0, 1, b"x")],
            PROTOCOL,
        ),
    ]
}

fn definitions_of_frames() -> Vec<Row> {
    let half = || frame(HEADERS, END_STREAM, 1, &fields(&GET));
    vec![
        row("6.1", "DATA on stream 0", [frame(DATA, 0, 0, b"x")], PROTOCOL),
        row(
            "6.1",
            "DATA with more padding than frame",
            [post(1), frame(DATA, PADDED | 1, 1, &[6, 1])],
            &[Connection(PROTOCOL_ERROR), Closed],
        ),
        row("6.2", "HEADERS on stream 0", [frame(HEADERS, 5, 0, &fields(&GET))], PROTOCOL),
        row(
            "6.2",
            "HEADERS with more padding than frame",
            [frame(HEADERS, PADDED | 5, 1, &[9, 1])],
            &[Connection(PROTOCOL_ERROR), Closed],
        ),
        row(
            "6.2",
            "HEADERS with padding and priority",
            [frame(
                HEADERS,
                PADDED | PRIORITISED | 5,
                1,
                &[&[1, 0, 0, 0, 0, 9][..], &fields(&GET), &[0]].concat(),
            )],
            &[Answer(200)],
        ),
        row("6.3", "PRIORITY on stream 0", [frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 9])], PROTOCOL),
        row(
            "6.3",
            "PRIORITY of another size",
            [frame(PRIORITY, 0, 1, &[0, 0, 0, 1])],
            &[Stream(FRAME_SIZE_ERROR), Connection(FRAME_SIZE_ERROR), Closed],
        ),
        row("6.4", "RST_STREAM on stream 0", [reset(0)], PROTOCOL),
        row("6.4", "RST_STREAM of another size", [post(1), frame(RST_STREAM, 0, 1, &[0; 3])], SIZE),
        row("6.5", "an acknowledgement with content", [frame(SETTINGS, ACK, 0, &[0])], SIZE),
        row("6.5", "SETTINGS of a stream", [frame(SETTINGS, 0, 1, &[])], PROTOCOL),
        row("6.5", "SETTINGS of a broken size", [frame(SETTINGS, 0, 0, &[0; 3])], SIZE),
        row("6.5.2", "a push that is neither on nor off", [setting(2, 2)], PROTOCOL),
        row("6.5.2", "a window of 2 GiB", [setting(4, 1 << 31)], FLOW),
        row("6.5.2", "frames smaller than the least", [setting(5, 16_383)], PROTOCOL),
        row("6.5.2", "frames larger than the largest", [setting(5, 1 << 24)], PROTOCOL),
        row("6.5.2", "an unknown setting", [setting(0xff, 1)], &[Nothing]),
        row("6.7", "PING that was not asked for", [frame(PING, ACK, 0, b"invalid!")], &[Nothing]),
        row("6.7", "PING of a stream", [frame(PING, 0, 1, b"abcdefgh")], PROTOCOL),
        row("6.7", "PING of another size", [frame(PING, 0, 0, b"abcdef")], SIZE),
        row("6.8", "GOAWAY of a stream", [frame(GOAWAY, 0, 1, &[0; 8])], PROTOCOL),
        row("6.9", "a connection's window raised by nothing", [window(0, 0)], PROTOCOL),
        row("6.9", "a stream's window raised by nothing", [post(1), window(1, 0)], MALFORMED),
        row("6.9", "WINDOW_UPDATE of another size", [frame(WINDOW_UPDATE, 0, 0, &[0; 3])], SIZE),
        row("6.9.1", "a connection's window beyond 2 GiB", [window(0, (1 << 31) - 1)], FLOW),
        row(
            "6.9.1",
            "a stream's window beyond 2 GiB",
            [post(1), window(1, (1 << 31) - 1)],
            &[Stream(FLOW_CONTROL_ERROR), Connection(FLOW_CONTROL_ERROR)],
        ),
        row("6.10", "CONTINUATION on stream 0", [half(), frame(CONTINUATION, 4, 0, b"")], PROTOCOL),
        row(
            "6.10",
            "CONTINUATION after the last",
            [get(1), frame(CONTINUATION, 4, 1, b"")],
            &[Connection(PROTOCOL_ERROR), Connection(STREAM_CLOSED), Closed],
        ),
        row(
            "6.10",
            "CONTINUATION after DATA",
            [post(1), frame(DATA, 0, 1, b"x"), frame(CONTINUATION, 4, 1, b"")],
            PROTOCOL,
        ),
        row(
            "6.10",
            "a header block in three frames",
            [half(), frame(CONTINUATION, 0, 1, b""), frame(CONTINUATION, 4, 1, b"")],
            &[Answer(200)],
        ),
    ]
}

fn messages() -> Vec<Row> {
    let with_get = |more: &[(&str, &str)]| [frame(HEADERS, 5, 1, &with(&GET, more))];
    let without = |name: &str| {
        let left: Vec<_> = GET.into_iter().filter(|(is, _)| *is != name).collect();
        [request(&left)]
    };
    let trailers = |flags, list: &[(&str, &str)]| {
        [post(1), frame(HEADERS, END_HEADERS | flags, 1, &fields(list))]
    };
    let sized = |size: &str, body: &[u8]| {
        [frame(HEADERS, 4, 1, &with(&POST, &[("content-length", size)])), frame(DATA, 1, 1, body)]
    };
    vec![
        row("8.1", "a whole request", [get(1)], &[Answer(200)]),
        row("8.1", "trailers", trailers(END_STREAM, &[("x-sum", "1")]), &[Answer(200)]),
        row(
            "8.1",
            "trailers that do not end the stream",
            trailers(0, &[("x-sum", "1")]),
            MALFORMED,
        ),
        row("8.1.1", "a body shorter than its length", sized("2", b"x"), MALFORMED),
        row("8.1.1", "a body longer than its length", sized("1", b"xx"), MALFORMED),
        row("8.1.1", "a length that is no number", sized("x", b"x"), MALFORMED),
        row("8.2.1", "a name in upper case", with_get(&[("X-TEST", "ok")]), MALFORMED),
        row("8.2.1", "a name with a space", with_get(&[("x test", "ok")]), MALFORMED),
        row("8.2.1", "a value with a line break", with_get(&[("x-test", "a\r\nb: c")]), MALFORMED),
        row(
            "8.2.2",
            "a field of the connection",
            with_get(&[("connection", "keep-alive")]),
            MALFORMED,
        ),
        row("8.2.2", "a transfer coding", with_get(&[("transfer-encoding", "chunked")]), MALFORMED),
        row("8.2.2", "TE other than trailers", with_get(&[("te", "trailers, deflate")]), MALFORMED),
        row("8.2.2", "TE of trailers", with_get(&[("te", "trailers")]), &[Answer(200)]),
        row("8.3", "an unknown pseudo-field", with_get(&[(":test", "ok")]), MALFORMED),
        row("8.3", "a response's pseudo-field", with_get(&[(":status", "200")]), MALFORMED),
        // The section wants an error. `h2` passes the field over instead, so that no guest sees it.
        row("8.3", "a pseudo-field in trailers", trailers(1, &[(":path", "/")]), &[Answer(200)]),
        row(
            "8.3",
            "a pseudo-field behind a field",
            [request(&[GET[0], GET[1], AUTHORITY, ("a", "b"), GET[2]])],
            MALFORMED,
        ),
        row(
            "8.3.1",
            "an empty path",
            [request(&[GET[0], GET[1], (":path", ""), AUTHORITY])],
            MALFORMED,
        ),
        row("8.3.1", "no method", without(":method"), MALFORMED),
        row("8.3.1", "no scheme", without(":scheme"), MALFORMED),
        row("8.3.1", "no path", without(":path"), MALFORMED),
        row("8.3.1", "two methods", with_get(&[(":method", "GET")]), MALFORMED),
        row("8.3.1", "two schemes", with_get(&[(":scheme", "http")]), MALFORMED),
        row("8.3.1", "two paths", with_get(&[(":path", "/")]), MALFORMED),
        row(
            "8.4",
            "PUSH_PROMISE of a client",
            [frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])],
            PROTOCOL,
        ),
    ]
}

fn compression() -> Vec<Row> {
    let block = |more: &[u8]| [frame(HEADERS, 5, 1, &[&fields(&GET)[..], more].concat())];
    vec![
        row("7541, 2.3.3", "an index beyond the tables", block(&[0xff, 0x64]), COMPRESSION),
        row("7541, 4.2", "a table's size at a block's end", block(&[0x20]), COMPRESSION),
        row(
            "7541, 5.2",
            "padding of more than 7 bits",
            block(&[0, 1, b'a', 0x82, 0x1f, 0xff]),
            COMPRESSION,
        ),
        row(
            "7541, 5.2",
            "padding that is not the end's code",
            block(&[0, 1, b'a', 0x81, 0x18]),
            COMPRESSION,
        ),
        row(
            "7541, 5.2",
            "the code of the end",
            block(&[0, 1, b'a', 0x84, 0xff, 0xff, 0xff, 0xfc]),
            COMPRESSION,
        ),
        row("7541, 6.1", "an index of 0", block(&[0x80]), COMPRESSION),
        row(
            "7541, 6.3",
            "a table larger than agreed",
            [frame(HEADERS, 5, 1, &[&[0x3f, 0xff, 0xff, 0x03][..], &fields(&GET)].concat())],
            COMPRESSION,
        ),
    ]
}

#[tokio::test]
async fn each_frame_that_must_not_be_is_answered_as_the_rfc_says() {
    let host = Host::start([spec("misbehave")]).await;
    let rows = [frames_and_streams(), definitions_of_frames(), messages(), compression()];
    let mut failed = Vec::new();
    for Row { section, case, frames, expected } in rows.into_iter().flatten() {
        let mut client = within(Client::connect(&host)).await;
        let seen = within(client.sees(&frames, expected)).await;
        println!("{section:12} {case:48} {seen:?}");
        if !is_allowed(seen, expected) {
            failed.push(format!("{section}: {case}: {seen:?}, expected one of {expected:?}"));
        }
        drop(client);
    }
    assert!(failed.is_empty(), "{failed:#?}");
    within(host.idle()).await;
    assert_eq!(host.get("/").await.0, 200);
}

#[tokio::test]
async fn what_is_no_preface_is_no_http_2() {
    let host = Host::start([spec("hello")]).await;
    let answer = within(host.raw("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn a_client_that_takes_its_requests_back_at_once_is_sent_away() {
    let host = Host::start([spec("hello")]).await;
    let mut client = within(Client::connect(&host)).await;
    let frames: Vec<u8> =
        (0..2000).flat_map(|n| [post(n * 2 + 1), reset(n * 2 + 1)].concat()).collect();
    let seen = within(client.sees(&frames, &[])).await;
    assert!(matches!(seen, Connection(ENHANCE_YOUR_CALM) | Closed), "{seen:?}");
    drop(client);
    within(host.idle()).await;
    assert_eq!(host.get("/").await.0, 200);
}

#[tokio::test]
async fn a_head_in_endless_pieces_is_cut_off() {
    let host = Host::start([spec("hello")]).await;
    let mut client = within(Client::connect(&host)).await;
    let piece = frame(CONTINUATION, 0, 1, &field("a", &"x".repeat(120)));
    let frames = [frame(HEADERS, 1, 1, &fields(&GET)), piece.repeat(5000)].concat();
    let seen = within(client.sees(&frames, &[])).await;
    assert!(matches!(seen, Connection(ENHANCE_YOUR_CALM | PROTOCOL_ERROR) | Closed), "{seen:?}");
}
