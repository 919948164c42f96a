//! The written forms: sizes, durations, names, addresses and paths, and what each may look like.

use std::{
    borrow::Cow,
    fmt,
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IntoDeserializer as _},
};

use super::value::{List, Typed, Written};
use crate::{
    name::{Digest, InterfaceName, ProviderName, WorkloadName},
    provider::remote::{Address, AddressError},
    workload::{
        egress::{HttpTarget, ListenTarget, NamePattern, SocketTarget, TargetError},
        spec::LinkTarget,
    },
};

/// A number of bytes, such as `"64MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub(super) u64);

const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Written for Size {
    const NAME: &'static str = "size";
    const EXPECTED: &'static str =
        "a size such as \"64MiB\", a whole number with the unit B, KiB, MiB, GiB or TiB";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        let (number, unit) = split_number(text).ok_or("is not a size")?;
        let number: u64 = number.parse().map_err(|_| "is too large")?;
        let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or(match unit {
            "" => "has no unit",
            _ => "has an unknown unit",
        })?;
        Ok(Self(number.checked_mul(*bytes).ok_or("is too large")?))
    }

    fn write(&self) -> String {
        let fits = |unit: &&(&str, u64)| self.0 >= unit.1 && self.0.is_multiple_of(unit.1);
        let (name, bytes) = SIZE_UNITS.iter().find(fits).unwrap_or(&("B", 1));
        format!("{}{name}", self.0 / bytes)
    }
}

const TIME_UNITS: [(&str, u64); 5] =
    [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

impl Written for Duration {
    const NAME: &'static str = "duration";
    const EXPECTED: &'static str =
        "a duration such as \"30s\" or \"1m30s\", whole numbers with the units h, m, s, ms or us";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        let mut micros = 0_u64;
        let mut rest = text;
        loop {
            let (number, after) = split_number(rest).ok_or("is not a duration")?;
            let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, next) = after.split_at(end);
            let number: u64 = number.parse().map_err(|_| "is too long")?;
            let (_, factor) =
                TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or(match unit {
                    "" => "has no unit",
                    _ => "has an unknown unit",
                })?;
            let part = number.checked_mul(*factor).ok_or("is too long")?;
            micros = micros.checked_add(part).ok_or("is too long")?;
            if next.is_empty() {
                return Ok(Self::from_micros(micros));
            }
            rest = next;
        }
    }

    fn write(&self) -> String {
        let micros = u64::try_from(self.as_micros()).unwrap_or(u64::MAX);
        let fits = |unit: &&(&str, u64)| micros >= unit.1 && micros.is_multiple_of(unit.1);
        let (name, factor) = TIME_UNITS.iter().find(fits).unwrap_or(&("s", 1));
        format!("{}{name}", micros / factor)
    }
}

/// `text` as its leading digits and the rest; none without digits.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A duration, or `"none"` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound(pub(super) Option<Duration>);

impl Written for Bound {
    const NAME: &'static str = "duration or none";
    const EXPECTED: &'static str =
        "a duration such as \"30s\", in h, m, s, ms or us, or \"none\" for no limit";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        match text {
            "none" => Ok(Self(None)),
            _ => match Duration::read(text)? {
                Duration::ZERO => Err("would let nothing run".into()),
                duration => Ok(Self(Some(duration))),
            },
        }
    }

    fn write(&self) -> String {
        self.0.map_or_else(|| "none".to_owned(), |duration| duration.write())
    }
}

/// A host name that requests are routed by, or `*.domain`: lower case, without scheme and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostName(pub(super) String);

impl Written for HostName {
    const NAME: &'static str = "host name";
    const EXPECTED: &'static str = "a host name such as \"shop.example\", or \"*.example\" for every \
                                    name below a domain, without scheme and port";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        let address =
            text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = address.parse::<Ipv6Addr>() {
            // As requests name it.
            return Ok(Self(format!("[{address}]")));
        }
        if is_host(text.strip_prefix("*.").unwrap_or(text)) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err("is not a host name".into())
        }
    }

    fn write(&self) -> String {
        self.0.clone()
    }
}

fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let is_address = || text.parse::<Ipv6Addr>().is_ok();
    text.len() <= 253 && (text.split('.').all(is_label) || is_address())
}

/// The path prefix that requests are routed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathPrefix(pub(super) String);

impl Written for PathPrefix {
    const NAME: &'static str = "path";
    const EXPECTED: &'static str = "a path that begins with `/`, without `?` and `#`";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        if text.starts_with('/') && !text.contains(['?', '#', ' ']) {
            Ok(Self(text.to_owned()))
        } else {
            Err("is not a path prefix".into())
        }
    }

    fn write(&self) -> String {
        self.0.clone()
    }
}

impl Written for HttpTarget {
    const NAME: &'static str = "destination of requests";
    const EXPECTED: &'static str = "a host, an address or a prefix, such as \"https://api.example\", \"*.example:8443\" or \
         \"10.0.0.0/8\"; a scheme before it and ports behind it if need be, no path";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        text.parse().map_err(|fault: TargetError| fault.to_string().into())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Written for SocketTarget {
    const NAME: &'static str = "destination of sockets";
    const EXPECTED: &'static str = "an address, a prefix or a host, and ports, such as \
                                    \"10.0.0.1:5432\", \"tcp://10.0.0.0/8:8000-8999\" or \"db.example:5432\"";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        text.parse().map_err(|fault: TargetError| fault.to_string().into())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Written for ListenTarget {
    const NAME: &'static str = "address to listen on";
    const EXPECTED: &'static str =
        "an IP address and ports, such as \"127.0.0.1:9000\" or \"tcp://0.0.0.0:9000-9009\"";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        text.parse().map_err(|fault: TargetError| fault.to_string().into())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Written for NamePattern {
    const NAME: &'static str = "names";
    const EXPECTED: &'static str =
        "a host name or all below a domain, such as \"db.example\" or \"*.example\", or \"*\"";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        text.parse().map_err(|fault: TargetError| fault.to_string().into())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

/// The names that may be looked up: a list, or `true` for all and `false` for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct NameLookup(pub(super) List<Typed<NamePattern>>);

impl<'de> Deserialize<'de> for NameLookup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = NameLookup;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of host names, true or false")
            }

            fn visit_bool<E>(self, all: bool) -> Result<NameLookup, E> {
                Ok(NameLookup(List(all.then_some(Typed(NamePattern::ANY)).into_iter().collect())))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<NameLookup, E> {
                List::deserialize(text.into_deserializer()).map(NameLookup)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, elements: A) -> Result<NameLookup, A::Error> {
                List::deserialize(de::value::SeqAccessDeserializer::new(elements)).map(NameLookup)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for NameLookup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl JsonSchema for NameLookup {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "names that may be looked up".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let list = List::<Typed<NamePattern>>::json_schema(generator);
        json_schema!({ "anyOf": [list, { "type": "boolean" }] })
    }
}

/// Which log lines are written, in the syntax of `tracing`'s `EnvFilter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogFilter(pub(super) String);

impl Written for LogFilter {
    const NAME: &'static str = "log filter";
    const EXPECTED: &'static str = "one of `off`, `error`, `warn`, `info`, `debug`, `trace`, or \
                                    a filter such as \"info,backplane=debug\"";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        // A bare word that is no level would be taken for a target and silence all others.
        let is_directive = |part: &str| {
            LEVELS.contains(&part.to_ascii_lowercase().as_str())
                || (part.contains('=')
                    && part.parse::<tracing_subscriber::filter::Directive>().is_ok())
        };
        if text.split(',').all(|part| is_directive(part.trim())) {
            Ok(Self(text.to_owned()))
        } else {
            Err("is not a log level".into())
        }
    }

    fn write(&self) -> String {
        self.0.clone()
    }
}

impl Written for PathBuf {
    const NAME: &'static str = "path";
    const EXPECTED: &'static str = "the path of a file or folder";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        if text.is_empty() || text.contains('\0') {
            Err("is not a path".into())
        } else {
            Ok(Self::from(text))
        }
    }

    fn write(&self) -> String {
        self.to_string_lossy().into_owned()
    }
}

impl Written for SocketAddr {
    const NAME: &'static str = "address";
    const EXPECTED: &'static str =
        "an IP address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        text.parse().map_err(|_| "is not an address".into())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

/// The address of health and metrics, or `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AdminAddress(pub(super) Option<SocketAddr>);

impl Written for AdminAddress {
    const NAME: &'static str = "address or off";
    const EXPECTED: &'static str =
        "an IP address and a port, such as \"127.0.0.1:9090\", or \"off\"";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        match text {
            "off" => Ok(Self(None)),
            _ => SocketAddr::read(text).map(|address| Self(Some(address))),
        }
    }

    fn write(&self) -> String {
        self.0.map_or_else(|| "off".to_owned(), |address| address.write())
    }
}

impl Written for Address {
    const NAME: &'static str = "server address";
    const EXPECTED: &'static str = "the URL of a server, \"tcp://HOST:PORT\" or \"unix:/PATH\"";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        text.parse().map_err(|fault: AddressError| fault.to_string().into())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Written for InterfaceName {
    const NAME: &'static str = "interface";
    const EXPECTED: &'static str =
        "an interface `namespace:package/interface`, with its `@version` if it has one";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        text.parse().map_err(|_| "is not a WIT interface".into())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

const NAME_EXPECTED: &str =
    "a name of at most 63 lower-case letters, digits and `-`, beginning with a letter";

impl Written for WorkloadName {
    const NAME: &'static str = "workload name";
    const EXPECTED: &'static str = NAME_EXPECTED;

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        text.parse().map_err(|_| "is not the name of a workload".into())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Written for ProviderName {
    const NAME: &'static str = "provider name";
    const EXPECTED: &'static str = NAME_EXPECTED;

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        text.parse().map_err(|_| "is not the name of a provider".into())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Written for Digest {
    const NAME: &'static str = "digest";
    const EXPECTED: &'static str = "`sha256:` and 64 hexadecimal digits";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        text.parse().map_err(|_| "is not a digest".into())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

/// The interfaces of a link that is chosen by interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target(pub(super) LinkTarget);

impl Written for Target {
    const NAME: &'static str = "package or interface";
    const EXPECTED: &'static str = "a package `namespace:package` or an interface \
                                    `namespace:package/interface`, which may have a `@version`";

    fn read(text: &str) -> Result<Self, Cow<'static, str>> {
        if text.contains('/') {
            let name: InterfaceName = text.parse().map_err(|_| "is not a WIT interface")?;
            return Ok(Self(LinkTarget::Interface(name)));
        }
        if text.contains('@') {
            return Err("is a package with a version, which a link cannot choose by".into());
        }
        // A package is whatever makes an interface of it a name.
        match format!("{text}/x").parse::<InterfaceName>() {
            Ok(name) => Ok(Self(LinkTarget::Package(name.package().to_owned()))),
            Err(_) => Err("is not a WIT package".into()),
        }
    }

    fn write(&self) -> String {
        match &self.0 {
            LinkTarget::Package(package) => package.clone(),
            LinkTarget::Interface(name) => name.to_string(),
            LinkTarget::Named(name) => name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Written>(text: &str) -> Result<T, String> {
        T::read(text).map_err(|fault| format!("`{text}` {fault}"))
    }

    #[test]
    fn a_size_is_a_whole_number_with_a_unit() {
        for (text, bytes) in
            [("0B", 0), ("512B", 512), ("1KiB", 1024), ("64MiB", 64 << 20), ("4GiB", 4 << 30)]
        {
            assert_eq!(read::<Size>(text).map(|size| size.0), Ok(bytes));
            assert_eq!(Size(bytes).write(), text);
        }
        for (text, fault) in [
            ("64", "`64` has no unit"),
            ("64MB", "`64MB` has an unknown unit"),
            ("64mib", "`64mib` has an unknown unit"),
            ("1.5GiB", "`1.5GiB` has an unknown unit"),
            ("-1B", "`-1B` is not a size"),
            ("", "`` is not a size"),
            ("99999999TiB", "`99999999TiB` is too large"),
        ] {
            assert_eq!(read::<Size>(text), Err(fault.to_owned()));
        }
    }

    #[test]
    fn a_duration_is_whole_numbers_with_units() {
        for (text, millis) in [("30s", 30_000), ("500ms", 500), ("5m", 300_000), ("90m", 5_400_000)]
        {
            assert_eq!(read::<Duration>(text), Ok(Duration::from_millis(millis)));
            assert_eq!(Duration::from_millis(millis).write(), text);
        }
        assert_eq!(read::<Duration>("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(Duration::from_secs(90).write(), "90s");
        assert_eq!(Duration::ZERO.write(), "0s");
        for (text, fault) in [
            ("30", "`30` has no unit"),
            ("30 s", "`30 s` has an unknown unit"),
            ("1m30", "`1m30` has no unit"),
            ("soon", "`soon` is not a duration"),
            ("99999999999999h", "`99999999999999h` is too long"),
        ] {
            assert_eq!(read::<Duration>(text), Err(fault.to_owned()));
        }
    }

    #[test]
    fn a_bound_is_a_duration_or_none_and_never_nothing() {
        assert_eq!(read("none"), Ok(Bound(None)));
        assert_eq!(read("5s"), Ok(Bound(Some(Duration::from_secs(5)))));
        assert_eq!(read::<Bound>("0s"), Err("`0s` would let nothing run".to_owned()));
    }

    #[test]
    fn the_admin_address_is_an_address_or_off() {
        for text in ["127.0.0.1:9090", "[::1]:0", "off"] {
            assert_eq!(read::<AdminAddress>(text).unwrap().write(), text);
        }
        for bad in ["", "on", "none", "9090", ":9090", "localhost:9090"] {
            assert!(read::<AdminAddress>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_paths_and_destinations_are_checked() {
        for good in ["shop.example", "LOCALHOST", "10.0.0.1", "[::1]", "*.Shop.example"] {
            assert_eq!(read(good), Ok(HostName(good.to_lowercase())));
        }
        assert_eq!(read("::1"), Ok(HostName("[::1]".to_owned())));
        for bad in ["", "http://x", "x:80", "*", "*.", "a.*.b", "*.*.b", "*b", "a..b", "a/b"] {
            assert!(read::<HostName>(bad).is_err(), "{bad}");
        }
        for good in [
            "api.example",
            "https://api.example:8443",
            "*.example:1",
            "[::1]:80",
            "::1",
            "10.0.0.0/8",
            "*",
        ] {
            assert!(read::<HttpTarget>(good).is_ok(), "{good}");
        }
        for (bad, fault) in [
            ("https://api.example/", "has a path"),
            ("api.example:x", "has a port that is none"),
            ("a/b", "has a path"),
        ] {
            assert_eq!(read::<HttpTarget>(bad), Err(format!("`{bad}` {fault}")));
        }
        assert!(read::<SocketTarget>("10.0.0.1:0").is_ok());
        assert!(read::<SocketTarget>("10.0.0.1").is_err());
        assert!(read::<ListenTarget>("0.0.0.0:80").is_ok());
        assert!(read::<ListenTarget>("db.example:80").is_err());
        assert!(read::<PathPrefix>("/a/b").is_ok());
        assert!(read::<PathPrefix>("a").is_err());
        assert!(read::<PathPrefix>("/a?b").is_err());
    }

    #[test]
    fn a_log_filter_is_a_level_or_directives_and_not_a_bare_word() {
        for good in ["info", "WARN", "info,backplane=debug", "off, wasmtime=trace"] {
            assert!(read::<LogFilter>(good).is_ok(), "{good}");
        }
        for bad in ["inf", "verbose", "", "backplane=loud", "info,x"] {
            assert!(read::<LogFilter>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_target_is_a_package_or_an_interface() {
        assert_eq!(read("acme:cache"), Ok(Target(LinkTarget::Package("acme:cache".into()))));
        for interface in ["acme:cache/store", "acme:cache/store@0.2.0-draft2"] {
            let name = interface.parse().unwrap();
            assert_eq!(read(interface), Ok(Target(LinkTarget::Interface(name))));
        }
        for bad in ["", "cache", "acme:", "acme:cache@1.0.0", "acme:cache/", "a:b/c@x"] {
            assert!(read::<Target>(bad).is_err(), "{bad}");
        }
    }
}
