//! The one HTTP request that `demo --check` needs.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Gets a path and answers with the body of a 200; anything else is an error that quotes it.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // HTTP/1.0: the body ends with the connection, so that no chunks need decoding.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) =
        response.split_once("\r\n\r\n").context("the response has no end of head")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(status == "200", "GET {path} was answered with {status}: {}", body.trim());
    Ok(body.to_owned())
}
