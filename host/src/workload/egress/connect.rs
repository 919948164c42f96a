//! Connects to the first of several addresses that answers.

use std::{io, net::SocketAddr, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{net::TcpStream, time::sleep};

/// How long an address may be silent before the next is tried as well (RFC 8305, section 8).
const HEAD_START: Duration = Duration::from_millis(250);

/// Addresses of one name that are tried: whoever serves its DNS does not make the host knock at more.
const MOST: usize = 8;

/// A connection to one of these addresses, and to no other: nothing is looked up here.
///
/// # Errors
///
/// That of the last address that failed.
pub(super) async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut next = addresses.iter().take(MOST);
    let mut attempts = FuturesUnordered::new();
    let mut failed = io::Error::new(io::ErrorKind::AddrNotAvailable, "there is no address");
    loop {
        match next.next() {
            Some(address) => attempts.push(TcpStream::connect(*address)),
            None if attempts.is_empty() => return Err(failed),
            None => {}
        }
        let is_last = next.len() == 0;
        tokio::select! {
            Some(result) = attempts.next() => match result {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => failed = error,
            },
            () = sleep(HEAD_START), if !is_last => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_address_that_refuses_is_followed_by_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = gone.local_addr().unwrap();
        drop(gone);
        assert_eq!(connect(&[closed, open]).await.unwrap().peer_addr().unwrap(), open);
        let error = connect(&[closed]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(connect(&[]).await.is_err());
    }
}
