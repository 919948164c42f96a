//! What a workload may reach over the network: checked for each socket and each outbound request.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::uri::{Authority, Scheme};
use http_body_util::BodyExt as _;
use wasmtime_wasi::{WasiCtxBuilder, sockets::SocketAddrUse};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, default_send_request};

use super::spec::Network;

/// Chunks of a body that may wait for the client before the guest has to: small responses are then
/// done in one go.
const BODY_CHUNKS: usize = 4;

/// The largest chunk.
const BODY_CHUNK: usize = 64 << 10;

/// A workload's grants in the form they are checked in.
#[derive(Debug, Default)]
pub(super) struct Grants {
    http: Vec<Target>,
    sockets: HashSet<(IpAddr, u16)>,
    name_lookup: bool,
}

/// One entry of the list of hosts for outbound HTTP.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String),
    /// Every name below a domain, not the domain itself.
    Below(String),
}

/// An entry that is not a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a target for outbound HTTP; expected `host`, `host:port` or `*.domain`")]
pub struct TargetError(String);

impl Target {
    fn parse(text: &str) -> Result<Self, TargetError> {
        let error = || TargetError(text.to_owned());
        if let Ok(address) = text.parse() {
            return Ok(Self { host: Host::Address(address), port: None });
        }
        let authority: Authority = text.trim_start_matches("*.").parse().map_err(|_| error())?;
        let host = authority.host().to_ascii_lowercase();
        let port = authority.port_u16();
        if host.is_empty() || host.contains('*') || authority.as_str().contains('@') {
            return Err(error());
        }
        let host = match (text.starts_with("*."), parse_address(&host)) {
            (false, Some(address)) => Host::Address(address),
            (false, None) => Host::Name(host),
            (true, None) => Host::Below(format!(".{host}")),
            (true, Some(_)) => return Err(error()),
        };
        Ok(Self { host, port })
    }

    fn matches(&self, host: &str, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
            && match &self.host {
                Host::Address(address) => parse_address(host) == Some(*address),
                Host::Name(name) => name == host,
                Host::Below(domain) => host.len() > domain.len() && host.ends_with(domain.as_str()),
            }
    }

    /// Whether a name of this entry may stand for an address. The host's own network is reached by
    /// those alone who name it: loopback by address or `localhost`, a private network by address or
    /// by full name; so that whoever serves a granted domain's DNS cannot point it inside.
    fn may_stand_for(&self, address: IpAddr) -> bool {
        match &self.host {
            Host::Address(own) => *own == address,
            Host::Name(name) if name == "localhost" => address.is_loopback(),
            Host::Name(_) => matches!(reach(address), Reach::Public | Reach::Private),
            Host::Below(_) => reach(address) == Reach::Public,
        }
    }
}

fn parse_address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The host itself, its link (cloud metadata services live there), or no single host.
    Local,
    Private,
    Public,
}

fn reach(address: IpAddr) -> Reach {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            if v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || a == 0
                || a >= 240
            {
                Reach::Local
            } else if v4.is_private()
                || (a == 100 && (b & 0xc0) == 64)
                || (a == 198 && (b & 0xfe) == 18)
            {
                Reach::Private
            } else {
                Reach::Public
            }
        }
        IpAddr::V6(v6) => {
            let [first, ..] = v6.segments();
            if v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || (first & 0xffc0) == 0xfe80
            {
                Reach::Local
            } else if (first & 0xfe00) == 0xfc00 {
                Reach::Private
            } else {
                Reach::Public
            }
        }
    }
}

impl Grants {
    pub(super) fn new(network: &Network) -> Result<Self, TargetError> {
        Ok(Self {
            http: network.http.iter().map(|text| Target::parse(text)).collect::<Result<_, _>>()?,
            sockets: network.sockets.iter().copied().collect(),
            name_lookup: network.name_lookup,
        })
    }

    /// Gives a guest's context its sockets, and nothing where nothing is granted.
    pub(super) fn configure(self: &Arc<Self>, wasi: &mut WasiCtxBuilder) {
        wasi.allow_ip_name_lookup(self.name_lookup);
        if self.sockets.is_empty() {
            return;
        }
        wasi.allow_tcp(true).allow_udp(true);
        let grants = Arc::clone(self);
        wasi.socket_addr_check(move |address, purpose| {
            let allowed = grants.allows_socket(address, purpose);
            Box::pin(std::future::ready(allowed))
        });
    }

    fn allows_socket(&self, address: SocketAddr, purpose: SocketAddrUse) -> bool {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        match purpose {
            SocketAddrUse::TcpConnect | SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => {
                self.sockets.contains(&(ip, port)) || self.sockets.contains(&(ip, 0))
            }
            // What the operating system does before it connects.
            SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => ip.is_unspecified() && port == 0,
            SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => false,
        }
    }

    /// The address to send a request to, of those that the name has and the grants allow.
    async fn resolve(&self, host: &str, port: u16) -> Result<SocketAddr, Error> {
        let host = host.to_ascii_lowercase();
        let targets: Vec<&Target> =
            self.http.iter().filter(|target| target.matches(&host, port)).collect();
        if targets.is_empty() {
            return Err(Error::HttpRequestDenied);
        }
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let addresses = tokio::net::lookup_host((name, port)).await.map_err(|_| {
            Error::DnsError { rcode: Some("no address".to_owned()), info_code: None }
        })?;
        addresses
            .into_iter()
            .find(|address| targets.iter().any(|target| target.may_stand_for(address.ip())))
            .ok_or(Error::DestinationIpProhibited)
    }
}

/// How a guest's outbound requests are sent.
#[derive(Debug)]
pub(super) struct Outbound(pub(super) Arc<Grants>);

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<
        dyn Future<
                Output = Result<
                    (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>),
                    Error,
                >,
            > + Send,
    > {
        let grants = Arc::clone(&self.0);
        Box::new(async move {
            let request = send_to_granted(&grants, request).await?;
            let (response, io) = default_send_request(request, options).await?;
            Ok((
                response.map(|body| body.boxed_unsync()),
                Box::new(io) as Box<dyn Future<Output = Result<(), Error>> + Send>,
            ))
        })
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        BODY_CHUNKS
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK
    }
}

/// Checks a request's target and, where no certificate will prove the name, fixes its address, so
/// that the connection goes to what was checked.
async fn send_to_granted(
    grants: &Grants,
    mut request: http::Request<WasiBody>,
) -> Result<http::Request<WasiBody>, Error> {
    let authority = request.uri().authority().ok_or(Error::HttpRequestUriInvalid)?;
    let tls = request.uri().scheme() == Some(&Scheme::HTTPS);
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let address = grants.resolve(authority.host(), port).await?;
    if !tls {
        let mut parts = request.uri().clone().into_parts();
        parts.authority =
            Some(address.to_string().parse().map_err(|_| Error::HttpRequestUriInvalid)?);
        *request.uri_mut() =
            http::Uri::from_parts(parts).map_err(|_| Error::HttpRequestUriInvalid)?;
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(http: &[&str]) -> Grants {
        let http = http.iter().map(|text| (*text).to_owned()).collect();
        Grants::new(&Network { http, ..Network::default() }).unwrap()
    }

    fn stands_for(entry: &str, address: &str) -> bool {
        Target::parse(entry).unwrap().may_stand_for(address.parse().unwrap())
    }

    #[test]
    fn targets_match_by_host_port_and_domain() {
        let matches =
            |entry: &str, host: &str, port| Target::parse(entry).unwrap().matches(host, port);
        assert!(matches("example.com", "example.com", 443));
        assert!(matches("Example.com:8080", "example.com", 8080));
        assert!(!matches("example.com:8080", "example.com", 80));
        assert!(!matches("example.com", "a.example.com", 80));
        assert!(matches("*.example.com", "a.b.example.com", 80));
        assert!(!matches("*.example.com", "example.com", 80));
        assert!(!matches("*.example.com", "badexample.com", 80));
        assert!(matches("::1", "[::1]", 80));
        assert!(matches("[::1]:80", "[::1]", 80));
        for text in ["", "*", "*.127.0.0.1", "a b", "user@host", "a*.com"] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_granted_name_does_not_reach_inside_unless_it_says_so() {
        assert!(stands_for("api.example.com", "93.184.216.34"));
        assert!(stands_for("api.example.com", "10.0.0.7"));
        assert!(!stands_for("api.example.com", "127.0.0.1"));
        assert!(!stands_for("api.example.com", "169.254.169.254"));
        assert!(!stands_for("api.example.com", "::ffff:127.0.0.1"));
        assert!(!stands_for("*.example.com", "10.0.0.7"));
        assert!(!stands_for("*.example.com", "fd00::1"));
        assert!(stands_for("localhost", "127.0.0.1"));
        assert!(stands_for("169.254.169.254", "169.254.169.254"));
    }

    #[test]
    fn sockets_connect_only_where_granted_and_never_listen() {
        let granted = "10.0.0.1".parse().unwrap();
        let grants = Grants::new(&Network {
            sockets: vec![(granted, 5432), ("10.0.0.2".parse().unwrap(), 0)],
            ..Network::default()
        })
        .unwrap();
        let allows =
            |address: &str, purpose| grants.allows_socket(address.parse().unwrap(), purpose);
        assert!(allows("10.0.0.1:5432", SocketAddrUse::TcpConnect));
        assert!(!allows("10.0.0.1:22", SocketAddrUse::TcpConnect));
        assert!(allows("10.0.0.2:22", SocketAddrUse::UdpSend));
        assert!(!allows("10.0.0.3:22", SocketAddrUse::TcpConnect));
        assert!(allows("0.0.0.0:0", SocketAddrUse::TcpBind));
        assert!(!allows("0.0.0.0:80", SocketAddrUse::TcpBind));
        assert!(!allows("0.0.0.0:0", SocketAddrUse::TcpListen));
    }

    #[tokio::test]
    async fn a_host_that_is_not_granted_is_denied_before_its_name_is_looked_up() {
        let denied = grants(&["example.com"]).resolve("other.invalid", 80).await;
        assert!(matches!(denied, Err(Error::HttpRequestDenied)));
        let local = grants(&["127.0.0.1:81"]).resolve("127.0.0.1", 80).await;
        assert!(matches!(local, Err(Error::HttpRequestDenied)));
        let local = grants(&["127.0.0.1:80"]).resolve("127.0.0.1", 80).await;
        assert_eq!(local.unwrap(), "127.0.0.1:80".parse().unwrap());
    }
}
