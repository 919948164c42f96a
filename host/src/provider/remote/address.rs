//! Where a server is.

use std::{fmt, io, path::PathBuf, str::FromStr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

/// The address of a server, as config has it: a URL of its transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `tcp://HOST:PORT`. The name is looked up for each connection.
    Tcp(String),
    /// `unix:PATH`, an absolute path.
    Unix(PathBuf),
}

/// A text that is no address, worded to follow the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(&'static str);

impl Address {
    /// The transport's name.
    pub fn transport(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Unix(_) => "unix",
        }
    }

    /// Opens a connection. Of several addresses of a name, the first that can be reached.
    pub(super) async fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(host) => {
                let stream = TcpStream::connect(host).await?;
                // A call is one small write, which nothing more is to wait for.
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        }
    }
}

/// A connection of any transport.
pub(super) type Stream = Box<dyn Duplex>;

/// Bytes there and back.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(rest) = text.strip_prefix("tcp://") {
            let (host, port) = rest.rsplit_once(':').ok_or(AddressError("has no port"))?;
            if !port.parse::<u16>().is_ok_and(|port| port > 0) {
                return Err(AddressError("has a port that is none"));
            }
            let is_v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let is_host = match is_v6 {
                Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
                None => {
                    !host.is_empty() && !host.contains(['/', ':', '@', '?', '#', ' ', '[', ']'])
                }
            };
            return match is_host {
                true => Ok(Self::Tcp(rest.to_owned())),
                false => Err(AddressError("has a host that is none")),
            };
        }
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///run/x.sock` is the same with an empty authority.
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') && !path.contains('\0') {
                true => Ok(Self::Unix(path.into())),
                false => Err(AddressError("has a path that does not begin with `/`")),
            };
        }
        Err(AddressError("has no transport that is known"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host) => write!(f, "tcp://{host}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_transport_and_where_it_leads() {
        for text in ["tcp://127.0.0.1:7001", "tcp://[::1]:7001", "tcp://kv.example:1", "unix:/a b"]
        {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("unix:///run/x.sock".parse(), Ok(Address::Unix("/run/x.sock".into())));
        for (text, fault) in [
            ("127.0.0.1:7001", "has no transport that is known"),
            ("quic://127.0.0.1:7001", "has no transport that is known"),
            ("tcp://127.0.0.1", "has no port"),
            ("tcp://127.0.0.1:0", "has a port that is none"),
            ("tcp://127.0.0.1:7001/", "has a port that is none"),
            ("tcp://:7001", "has a host that is none"),
            ("tcp://user@host:7001", "has a host that is none"),
            ("tcp://::1:7001", "has a host that is none"),
            ("unix:run/x.sock", "has a path that does not begin with `/`"),
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressError(fault)), "{text}");
        }
    }
}
