//! The entries of the lists of what a workload may reach: scheme, host and ports.

use std::{borrow::Cow, fmt, net::IpAddr, ops::RangeInclusive, str::FromStr};

use super::address::{Range, is_public};

/// What is wrong with an entry, worded to follow it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TargetError(Cow<'static, str>);

impl From<&'static str> for TargetError {
    fn from(fault: &'static str) -> Self {
        Self(fault.into())
    }
}

/// The schemes that an entry of a list may begin with.
pub trait Scheme: Copy + PartialEq + fmt::Debug + 'static {
    /// Each, with the text before `://`.
    const ALL: &'static [(&'static str, Self)];

    /// What an entry stands for that names no port.
    fn default_ports(scheme: Option<Self>) -> Option<Ports>;
}

/// How an outbound request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Web {
    /// Without TLS.
    Http,
    /// Over TLS.
    Https,
}

impl Web {
    /// The port of a URL that names none.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Scheme for Web {
    const ALL: &'static [(&'static str, Self)] = &[("http", Self::Http), ("https", Self::Https)];

    fn default_ports(scheme: Option<Self>) -> Option<Ports> {
        // With its scheme an entry is an origin, whose port is the scheme's.
        Some(scheme.map_or(Ports::ANY, |scheme| Ports::single(scheme.default_port())))
    }
}

/// How a socket is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Scheme for Transport {
    const ALL: &'static [(&'static str, Self)] = &[("tcp", Self::Tcp), ("udp", Self::Udp)];

    fn default_ports(_: Option<Self>) -> Option<Ports> {
        None
    }
}

/// Ports from one to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(RangeInclusive<u16>);

impl Ports {
    const ANY: Self = Self(0..=u16::MAX);

    fn single(port: u16) -> Self {
        Self(port..=port)
    }

    fn contains(&self, port: u16) -> bool {
        self.0.contains(&port)
    }

    /// `0` stands for every port, as `*` does.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let port = |text: &str| match text.parse::<u16>() {
            Ok(port) if !text.starts_with('+') => Ok(port),
            _ => Err("has a port that is none"),
        };
        match text.split_once('-') {
            _ if text == "*" || text == "0" => Ok(Self::ANY),
            Some((from, to)) => {
                let (from, to) = (port(from)?, port(to)?);
                let is_range = 0 < from && from <= to;
                is_range.then_some(Self(from..=to)).ok_or("has ports that are no range")
            }
            None => port(text).map(Self::single),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.start(), self.0.end()) {
            _ if *self == Self::ANY => f.write_str("*"),
            (from, to) if from == to => write!(f, "{from}"),
            (from, to) => write!(f, "{from}-{to}"),
        }
    }
}

/// Hosts that an entry is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosts {
    /// Every host on the internet.
    Any,
    /// Every name below a domain, not the domain itself; the text begins with a dot.
    Below(String),
    /// One name.
    Name(String),
    /// Addresses.
    Addresses(Range),
}

impl Hosts {
    fn parse(text: &str) -> Result<Self, TargetError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(domain) = text.strip_prefix("*.") {
            return Ok(Self::Below(format!(".{}", host_name(domain)?)));
        }
        match text.parse() {
            Ok(range) => Ok(Self::Addresses(range)),
            Err(fault)
                if text.split_once('/').is_some_and(|(ip, _)| ip.parse::<IpAddr>().is_ok()) =>
            {
                Err(fault.into())
            }
            Err(_) if text.contains('/') => Err("has a path".into()),
            Err(_) => Ok(Self::Name(host_name(text)?)),
        }
    }

    /// Whether a name, as `host_name` writes it, is one of them.
    pub fn has_name(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Below(domain) => name.len() > domain.len() && name.ends_with(domain.as_str()),
            Self::Name(own) => own == name,
            Self::Addresses(_) => false,
        }
    }

    /// Whether they include an address: by itself, or as one that a name stands for. A name stands for
    /// public addresses alone, so that whoever serves its DNS cannot point it inside; except that
    /// `localhost` is the loopback.
    pub(super) fn has_address(&self, name: Option<&str>, address: IpAddr) -> bool {
        match self {
            Self::Addresses(range) => range.contains(address),
            Self::Any => is_public(address),
            Self::Name(own) if own == "localhost" => {
                name == Some(own) && address.to_canonical().is_loopback()
            }
            Self::Name(_) | Self::Below(_) => {
                name.is_some_and(|name| self.has_name(name)) && is_public(address)
            }
        }
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Below(domain) => write!(f, "*{domain}"),
            Self::Name(name) => f.write_str(name),
            Self::Addresses(range) if range.is_v6() => write!(f, "[{range}]"),
            Self::Addresses(range) => write!(f, "{range}"),
        }
    }
}

/// A host name in the one form that names are compared in: lower case, without the dot at its end.
///
/// A name whose last label is a number is none: resolvers take `2130706433`, `0x7f.1` and `127.1` for
/// addresses, each in its own way.
pub(super) fn host_name(text: &str) -> Result<String, &'static str> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() || name.len() > 253 {
        return Err("is not a host name");
    }
    if !name.is_ascii() {
        return Err("has letters that are not ASCII; write the name as DNS has it, with `xn--`");
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if !name.split('.').all(is_label) {
        return Err("is not a host name");
    }
    let last = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let is_number = match last.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => last.bytes().all(|b| b.is_ascii_digit()),
    };
    if is_number {
        return Err("ends in a number and is not an IP address as it is commonly written");
    }
    Ok(name.to_ascii_lowercase())
}

/// An entry: a scheme or every one, hosts, and ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<S> {
    scheme: Option<S>,
    hosts: Hosts,
    ports: Ports,
}

/// Where outbound requests may go.
pub type HttpTarget = Target<Web>;

/// Where sockets may connect or send to.
pub type SocketTarget = Target<Transport>;

impl<S: Scheme> Target<S> {
    /// Whether it is for a scheme and a port.
    pub(super) fn is_for(&self, scheme: S, port: u16) -> bool {
        self.scheme.is_none_or(|own| own == scheme) && self.ports.contains(port)
    }

    /// Whether it is for a scheme at all.
    pub(super) fn has_scheme(&self, scheme: S) -> bool {
        self.scheme.is_none_or(|own| own == scheme)
    }

    /// The hosts that it is for.
    pub(super) fn hosts(&self) -> &Hosts {
        &self.hosts
    }
}

impl<S: Scheme> FromStr for Target<S> {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (scheme, rest) = match text.split_once("://") {
            None => (None, text),
            Some((scheme, rest)) => {
                let known = S::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme));
                (Some(known.ok_or("has an unknown scheme")?.1), rest)
            }
        };
        if rest.contains('@') {
            return Err("has a user name".into());
        }
        let (hosts, ports) = if let Some(inner) = rest.strip_prefix('[') {
            let (address, behind) = inner.split_once(']').ok_or("has a `[` without `]`")?;
            let ports = match behind.strip_prefix(':') {
                Some(ports) => Some(ports),
                None if behind.is_empty() => None,
                None if behind.starts_with('/') => return Err("has a path".into()),
                None => return Err("has something other than a port behind its `]`".into()),
            };
            (Hosts::Addresses(address.parse::<Range>()?), ports)
        } else if rest.matches(':').count() > 1 {
            (Hosts::Addresses(rest.parse::<Range>()?), None)
        } else {
            let (host, ports) = match rest.split_once(':') {
                Some((host, ports)) => (host, Some(ports)),
                None => (rest, None),
            };
            (Hosts::parse(host)?, ports)
        };
        let ports = match ports {
            Some(ports) if ports.contains('/') => return Err("has a path".into()),
            Some(ports) => Ports::parse(ports)?,
            None => S::default_ports(scheme).ok_or("has no port")?,
        };
        Ok(Self { scheme, hosts, ports })
    }
}

impl<S: Scheme> fmt::Display for Target<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = S::ALL.iter().find(|(_, own)| self.scheme == Some(*own)) {
            write!(f, "{name}://")?;
        }
        write!(f, "{}", self.hosts)?;
        if S::default_ports(self.scheme).as_ref() != Some(&self.ports) {
            write!(f, ":{}", self.ports)?;
        }
        Ok(())
    }
}

/// Where sockets may listen: an address of the host, or several, and ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenTarget(pub(super) SocketTarget);

impl FromStr for ListenTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let target: SocketTarget = text.parse()?;
        match target.hosts {
            Hosts::Addresses(_) => Ok(Self(target)),
            _ => Err("has no IP address".into()),
        }
    }
}

impl fmt::Display for ListenTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which names may be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(pub(super) Hosts);

impl NamePattern {
    /// Every name.
    pub const ANY: Self = Self(Hosts::Any);
}

impl FromStr for NamePattern {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        match Hosts::parse(text) {
            Ok(Hosts::Addresses(_)) => Err("is an address, which needs no look-up".into()),
            Ok(hosts) => Ok(Self(hosts)),
            Err(_) if text.contains(':') => Err("has a port or a scheme".into()),
            Err(fault) => Err(fault),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The entries of one list.
#[derive(Debug)]
pub(super) struct AllowList<S>(Vec<Target<S>>);

impl<S: Scheme> AllowList<S> {
    pub(super) fn new(targets: impl IntoIterator<Item = Target<S>>) -> Self {
        Self(targets.into_iter().collect())
    }

    /// Whether any entry is for the scheme.
    pub(super) fn has_scheme(&self, scheme: S) -> bool {
        self.0.iter().any(|target| target.has_scheme(scheme))
    }

    /// Whether an entry has a name; then the name may be looked up.
    pub(super) fn has_name(&self, scheme: S, name: &str, port: u16) -> bool {
        self.0.iter().any(|target| target.is_for(scheme, port) && target.hosts.has_name(name))
    }

    /// Whether a connection may be made to an address, which `name` stands for.
    pub(super) fn has_address(
        &self,
        scheme: S,
        name: Option<&str>,
        address: IpAddr,
        port: u16,
    ) -> bool {
        self.0
            .iter()
            .any(|target| target.is_for(scheme, port) && target.hosts.has_address(name, address))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Target<S>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(entry: &str) -> AllowList<Web> {
        AllowList::new([entry.parse().unwrap()])
    }

    #[test]
    fn an_entry_is_for_its_scheme_hosts_and_ports() {
        let has = |entry: &str, scheme, name: &str, port| http(entry).has_name(scheme, name, port);
        // Without a scheme both, on every port.
        assert!(has("example.com", Web::Http, "example.com", 8080));
        assert!(has("example.com", Web::Https, "example.com", 443));
        assert!(has("Example.COM.:8080", Web::Http, "example.com", 8080));
        assert!(!has("example.com:8080", Web::Http, "example.com", 80));
        assert!(has("example.com:8000-8999", Web::Http, "example.com", 8999));
        assert!(!has("example.com:8000-8999", Web::Http, "example.com", 9000));
        // With one it is an origin.
        assert!(has("https://example.com", Web::Https, "example.com", 443));
        assert!(!has("https://example.com", Web::Https, "example.com", 8443));
        assert!(!has("https://example.com", Web::Http, "example.com", 443));
        assert!(has("https://example.com:*", Web::Https, "example.com", 8443));
        assert!(!has("example.com", Web::Http, "a.example.com", 80));
        assert!(has("*.example.com", Web::Http, "a.b.example.com", 80));
        assert!(!has("*.example.com", Web::Http, "example.com", 80));
        assert!(!has("*.example.com", Web::Http, "badexample.com", 80));
        assert!(has("https://*", Web::Https, "example.com", 443));
        assert!(!has("https://*", Web::Https, "example.com", 8443));
        assert!(!has("10.0.0.0/8", Web::Http, "example.com", 80));
    }

    #[test]
    fn a_name_stands_for_public_addresses_alone() {
        let has = |entry: &str, name: &str, address: &str| {
            http(entry).has_address(Web::Http, Some(name), address.parse().unwrap(), 80)
        };
        for entry in ["api.example.com", "*.example.com", "*"] {
            assert!(has(entry, "api.example.com", "93.184.216.34"), "{entry}");
            for inside in
                ["10.0.0.7", "127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "fd00::1"]
            {
                assert!(!has(entry, "api.example.com", inside), "{entry} {inside}");
            }
        }
        assert!(!has("api.example.com", "other.example.com", "93.184.216.34"));
        assert!(has("localhost", "localhost", "127.0.0.1"));
        assert!(has("localhost", "localhost", "::1"));
        assert!(!has("localhost", "localhost", "93.184.216.34"));
        assert!(!has("localhost", "api.example.com", "127.0.0.1"));
        assert!(has("10.0.0.0/8", "api.example.com", "10.0.0.7"));
        assert!(!has("10.0.0.0/8:81", "api.example.com", "10.0.0.7"));
        assert!(has("169.254.169.254", "metadata", "169.254.169.254"));
    }

    #[test]
    fn an_address_is_reached_where_it_is_listed() {
        let has = |entry: &str, address: &str| {
            http(entry).has_address(Web::Http, None, address.parse().unwrap(), 80)
        };
        assert!(has("[::1]:80", "::1"));
        assert!(has("::1", "::1"));
        assert!(has("http://[fd00::/8]", "fd00::7"));
        assert!(has("*", "8.8.8.8"));
        assert!(!has("*", "10.0.0.7"));
        assert!(!has("localhost", "127.0.0.1"));
        assert!(!has("example.com", "93.184.216.34"));
    }

    #[test]
    fn an_entry_that_is_none_says_why() {
        let fault = |text: &str| text.parse::<HttpTarget>().unwrap_err().to_string();
        for (text, part) in [
            ("", "is not a host name"),
            ("a b", "is not a host name"),
            ("a*.com", "is not a host name"),
            ("*.*.com", "is not a host name"),
            ("*.127.0.0.1", "ends in a number"),
            ("0x7f.1", "ends in a number"),
            ("2130706433", "ends in a number"),
            ("127.1", "ends in a number"),
            ("bücher.example", "xn--"),
            ("ftp://x", "unknown scheme"),
            ("user@host", "user name"),
            ("https://api.example/", "has a path"),
            ("api.example:80/x", "has a path"),
            ("api.example:x", "port"),
            ("api.example:70000", "port"),
            ("api.example:9-1", "no range"),
            ("[::1", "without `]`"),
            ("[::1]x", "behind its `]`"),
            ("10.0.0.7/8", "bits behind its prefix"),
            ("10.0.0.0/40", "too long"),
        ] {
            assert!(fault(text).contains(part), "{text}: {}", fault(text));
        }
        assert!("10.0.0.1".parse::<SocketTarget>().unwrap_err().to_string().contains("no port"));
        assert!("db.example:1".parse::<ListenTarget>().is_err());
        assert!("10.0.0.1".parse::<NamePattern>().is_err());
        assert!("db.example:1".parse::<NamePattern>().is_err());
    }

    #[test]
    fn an_entry_is_written_as_it_is_read() {
        for text in [
            "example.com",
            "example.com:8080",
            "https://*.example.com",
            "http://*:*",
            "10.0.0.0/8",
            "[fd00::/8]:80-90",
            "[::1]",
        ] {
            assert_eq!(text.parse::<HttpTarget>().unwrap().to_string(), text);
        }
        for text in ["10.0.0.1:5432", "udp://10.0.0.0/8:*", "tcp://db.example:5432"] {
            assert_eq!(text.parse::<SocketTarget>().unwrap().to_string(), text);
        }
        assert_eq!("10.0.0.1:0".parse::<SocketTarget>().unwrap().to_string(), "10.0.0.1:*");
    }
}
