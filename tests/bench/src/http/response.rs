//! Reads HTTP/1.1 responses from a socket for as little CPU time as can be: a body is not copied.

use std::os::fd::AsFd;

use anyhow::{Result, bail, ensure};
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};

/// What is read at once while a head is expected: little, so that little of a body is copied.
const HEAD: usize = 2048;
/// The most of a body that is let go of at once.
const SKIP: usize = 1 << 20;
const MAX_HEADERS: usize = 32;

/// Where bytes are read to, for all connections.
#[derive(Debug)]
pub(super) struct Scratch(Vec<u8>);

impl Default for Scratch {
    fn default() -> Self {
        Self(vec![0; SKIP])
    }
}

/// The response that a connection is reading.
#[derive(Debug, Default)]
pub(super) struct Response {
    /// What has come of it, up to the end of its head; in chunked encoding, all of it.
    read: Vec<u8>,
    /// What is left of a body whose length is known.
    left: Option<Left>,
}

#[derive(Clone, Copy, Debug)]
struct Left {
    status: u16,
    bytes: usize,
}

impl Response {
    /// Reads on; answers with the status when the response is complete.
    pub(super) fn read(&mut self, socket: impl AsFd, scratch: &mut Scratch) -> Result<Option<u16>> {
        let Scratch(scratch) = scratch;
        loop {
            if let Some(left) = &mut self.left {
                // TCP drops what is asked for and copies nothing.
                let wanted = left.bytes.min(scratch.len());
                let window = scratch.get_mut(..wanted).unwrap_or_default();
                let Some(taken) = receive(&socket, window, RecvFlags::TRUNC)? else {
                    return Ok(None);
                };
                left.bytes = left.bytes.saturating_sub(taken);
                if left.bytes == 0 {
                    return Ok(self.end());
                }
                if taken < wanted {
                    return Ok(None);
                }
            } else {
                let window = scratch.get_mut(..HEAD).unwrap_or_default();
                let Some(taken) = receive(&socket, window, RecvFlags::empty())? else {
                    return Ok(None);
                };
                self.read.extend_from_slice(scratch.get(..taken).unwrap_or_default());
                self.left = parse(&self.read)?;
                if let Some(Left { bytes: 0, .. }) = self.left {
                    return Ok(self.end());
                }
                // There is more of a body for certain, and of a head hardly ever.
                if self.left.is_none() {
                    return Ok(None);
                }
            }
        }
    }

    fn end(&mut self) -> Option<u16> {
        self.read.clear();
        self.left.take().map(|left| left.status)
    }
}

/// How many bytes were taken; none if there are none yet.
fn receive(socket: impl AsFd, window: &mut [u8], flags: RecvFlags) -> Result<Option<usize>> {
    match recv(socket, window, flags) {
        Ok((_, 0)) => bail!("the server closed a connection"),
        Ok((_, taken)) => Ok(Some(taken)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// How much is missing of a response; none if that cannot be said yet.
fn parse(read: &[u8]) -> Result<Option<Left>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(read)? else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    let header = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let body = read.get(head..).unwrap_or_default();
    if header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return Ok(chunks_end(body)?.then_some(Left { status, bytes: 0 }));
    }
    let Some(length) = header("content-length").and_then(|length| length.parse::<usize>().ok())
    else {
        bail!("a response with status {status} has neither a length nor chunks");
    };
    ensure!(length >= body.len(), "a response is longer than it says");
    Ok(Some(Left { status, bytes: length - body.len() }))
}

/// Whether these chunks are complete. They are few and small: hello's, counter's.
fn chunks_end(mut body: &[u8]) -> Result<bool> {
    loop {
        match httparse::parse_chunk_size(body) {
            Ok(httparse::Status::Complete((head, 0))) => {
                return Ok(body.get(head..).is_some_and(|rest| rest.starts_with(b"\r\n")));
            }
            Ok(httparse::Status::Complete((head, size))) => {
                let after = usize::try_from(size)?.saturating_add(head).saturating_add(2);
                match body.get(after..) {
                    Some(rest) => body = rest,
                    None => return Ok(false),
                }
            }
            Ok(httparse::Status::Partial) => return Ok(false),
            Err(error) => bail!("a chunk's size cannot be read: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// Writes pieces one by one, and tells after which the response was complete.
    fn complete_after(pieces: &[&[u8]]) -> Option<(usize, u16)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        server.set_nodelay(true).unwrap();
        let (client, _) = listener.accept().unwrap();
        client.set_nonblocking(true).unwrap();
        let (mut response, mut scratch) = (Response::default(), Scratch::default());
        for (at, piece) in pieces.iter().enumerate() {
            server.write_all(piece).unwrap();
            // Loopback: what was written is there.
            if let Some(status) = response.read(&client, &mut scratch).unwrap() {
                return Some((at, status));
            }
        }
        None
    }

    #[test]
    fn a_body_of_known_length_ends_with_its_last_byte() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        assert_eq!(complete_after(&[head, b"hel", b"l", b"o"]), Some((3, 200)));
        assert_eq!(
            complete_after(&[b"HTTP/1.1 503 No\r\nContent-", b"Length: 0\r\n\r\n"]),
            Some((1, 503))
        );
    }

    #[test]
    fn chunks_end_with_the_one_of_no_size() {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel";
        assert_eq!(complete_after(&[head, b"lo\r\n0\r\n", b"\r\n"]), Some((2, 200)));
    }
}
