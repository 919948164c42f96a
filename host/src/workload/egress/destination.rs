//! Where an outbound request goes: scheme, host and port, each in the one form that is compared.

use std::{fmt, net::IpAddr};

use http::Uri;
use rustls::pki_types::ServerName;
use wasmtime_wasi_http::Error;

use super::target::{Web, host_name};

/// A host as a URL names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Host {
    /// By address.
    Address(IpAddr),
    /// By name: lower case, without the dot at its end.
    Name(String),
}

impl Host {
    /// Reads a host. Only the common form of an address is one; what resolvers would take for one
    /// besides (`0x7f.1`, `2130706433`) is refused.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            let address = inner.parse().map_err(|_| "is not an IPv6 address")?;
            return Ok(Self::Address(IpAddr::V6(address)));
        }
        match text.parse() {
            Ok(IpAddr::V4(address)) => Ok(Self::Address(IpAddr::V4(address))),
            _ => host_name(text).map(Self::Name),
        }
    }
}
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address @ IpAddr::V6(_)) => write!(f, "[{address}]"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// An origin. Connections of a workload are kept by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    pub(super) tls: bool,
    pub(super) host: Host,
    pub(super) port: u16,
}

impl Destination {
    /// Where a request's URI leads, or what is wrong with it, worded to follow "its host".
    pub(super) fn of(uri: &Uri) -> Result<Self, &'static str> {
        let tls = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
        let authority = uri.authority().ok_or("is missing")?;
        if authority.as_str().contains('@') {
            return Err("has a user name, which a request must not carry");
        }
        let host = authority.host();
        let port = authority.as_str().strip_prefix(host).ok_or("cannot be read")?;
        let port = match port.strip_prefix(':') {
            None | Some("") => if tls { Web::Https } else { Web::Http }.default_port(),
            Some(port) => {
                let is_number = port.bytes().all(|b| b.is_ascii_digit());
                let port = port.parse().ok().filter(|port| is_number && *port > 0);
                port.ok_or("has a port that is none")?
            }
        };
        Ok(Self { tls, host: Host::parse(host)?, port })
    }

    pub(super) fn scheme(&self) -> Web {
        if self.tls { Web::Https } else { Web::Http }
    }

    /// The name that the server's certificate must have.
    pub(super) fn server_name(&self) -> Result<ServerName<'static>, Error> {
        match &self.host {
            Host::Address(address) => Ok(ServerName::from(*address)),
            Host::Name(name) => {
                ServerName::try_from(name.clone()).map_err(|_| Error::HttpRequestUriInvalid)
            }
        }
    }
}

/// As an entry of the list would have it.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port != self.scheme().default_port() {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_to_write_an_origin_come_to_one() {
        let of = |uri: &str| Destination::of(&uri.parse().unwrap()).map(|d| d.to_string());
        for (uri, origin) in [
            ("http://Example.COM/x?y", "http://example.com"),
            ("http://example.com.:80/", "http://example.com"),
            ("https://example.com:443/", "https://example.com"),
            ("https://example.com:/", "https://example.com"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://[0:0::1]:80/", "http://[::1]"),
            ("http://xn--bcher-kva.example/", "http://xn--bcher-kva.example"),
        ] {
            assert_eq!(of(uri).as_deref(), Ok(origin), "{uri}");
        }
        for uri in [
            "http://user:pass@example.com/",
            "http://example.com:0/",
            "http://example.com:99999/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://127.1/",
            "http://0177.0.0.1/",
            "http://example.com../",
            "http://[fe80::1%25eth0]/",
        ] {
            let Ok(uri) = uri.parse::<Uri>() else { continue };
            assert!(Destination::of(&uri).is_err(), "{uri}");
        }
    }
}
