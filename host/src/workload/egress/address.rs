//! What an IP address is: public, or one of the kinds that are reached by those alone who name them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// What an address is, as the IANA registries of special-purpose addresses have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A host on the internet.
    Public,
    /// The host itself.
    Loopback,
    /// A private network: RFC 1918, RFC 4193, and the shared addresses of RFC 6598.
    Private,
    /// The host's own link. Cloud metadata services live there.
    LinkLocal,
    /// Several hosts at once.
    Multicast,
    /// Another address behind a translator or tunnel: NAT64, 6to4, Teredo, an IPv4 address written as
    /// an IPv6 one. Where it leads is not what it looks like.
    Translated,
    /// No host: unspecified, reserved, documentation, benchmarks.
    Reserved,
}

impl Kind {
    /// The kind of an address. An IPv4 address that is mapped into IPv6 counts as itself.
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    fn of_v4(v4: Ipv4Addr) -> Self {
        match v4.octets() {
            [127, ..] => Self::Loopback,
            [10, ..] | [192, 168, ..] | [172, 16..=31, ..] | [100, 64..=127, ..] => Self::Private,
            [169, 254, ..] => Self::LinkLocal,
            [224..=239, ..] => Self::Multicast,
            // The relays of 6to4.
            [192, 88, 99, _] => Self::Translated,
            [0 | 240..=255, ..]
            | [192, 0, 0 | 2, _]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _] => Self::Reserved,
            _ => Self::Public,
        }
    }

    /// Only 2000::/3 is given to hosts on the internet, so what is not known here is not public.
    fn of_v6(v6: Ipv6Addr) -> Self {
        if v6.is_loopback() {
            return Self::Loopback;
        }
        match v6.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Self::Reserved,
            // IPv4-compatible (mapped ones do not come here), NAT64 and its local form.
            [0, 0, 0, 0, 0 | 0xffff, 0, ..] | [0x64, 0xff9b, ..] => Self::Translated,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Self::Private,
            [0xff00..=0xffff, ..] => Self::Multicast,
            [0x2001, 0, ..] | [0x2002, ..] => Self::Translated,
            [0x2001, 0x1..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Self::Reserved,
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Reserved,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Multicast => "multicast",
            Self::Translated => "translated",
            Self::Reserved => "reserved",
        })
    }
}

/// Whether an address is of a host on the internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    Kind::of(address) == Kind::Public
}

/// The addresses that share a prefix; a single address is the longest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    base: IpAddr,
    bits: u8,
}

impl Range {
    /// A single address.
    pub fn single(address: IpAddr) -> Self {
        let base = address.to_canonical();
        Self { base, bits: width(base) }
    }

    /// Whether an address is among them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4()
            && prefix(address, self.bits) == prefix(self.base, self.bits)
    }

    /// Whether it is written with colons, and so in brackets before a port.
    pub(super) fn is_v6(&self) -> bool {
        self.base.is_ipv6()
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The first bits of an address, the others zero.
fn prefix(address: IpAddr, bits: u8) -> u128 {
    let (value, width) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let shift = u32::from(width - bits.min(width));
    value.checked_shr(shift).unwrap_or(0)
}

impl FromStr for Range {
    type Err = &'static str;

    /// Reads an address, or one with a prefix length.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| "is not an IP address")?;
        let base = written.to_canonical();
        let Some(bits) = bits else { return Ok(Self::single(base)) };
        let bits: u8 = bits.parse().map_err(|_| "has no prefix length behind its `/`")?;
        // A mapped prefix is that of the IPv4 address.
        let mapped = width(written) - width(base);
        let bits = bits.checked_sub(mapped).ok_or("has a prefix that is too short")?;
        if bits > width(base) {
            return Err("has a prefix that is too long");
        }
        let range = Self { base, bits };
        let shift = u32::from(width(base) - bits);
        let first = prefix(base, bits).checked_shl(shift).unwrap_or(0);
        if first == prefix(base, width(base)) {
            Ok(range)
        } else {
            Err("has bits behind its prefix")
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits == width(self.base) {
            write!(f, "{}", self.base)
        } else {
            write!(f, "{}/{}", self.base, self.bits)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_hosts_on_the_internet_are_public() {
        for (kind, addresses) in [
            (
                Kind::Public,
                &["8.8.8.8", "172.15.0.1", "100.63.0.1", "2606:4700::1111", "2a00::1"][..],
            ),
            (Kind::Loopback, &["127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1"]),
            (
                Kind::Private,
                &["10.0.0.7", "172.31.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "fec0::1"],
            ),
            (Kind::LinkLocal, &["169.254.169.254", "fe80::1", "::ffff:169.254.169.254"]),
            (Kind::Multicast, &["224.0.0.1", "239.1.1.1", "ff02::1"]),
            (
                Kind::Translated,
                &[
                    "64:ff9b::7f00:1",
                    "64:ff9b:1::1",
                    "2002:7f00:1::1",
                    "2001:0:1::1",
                    "::127.0.0.1",
                    "::ffff:0:127.0.0.1",
                    "192.88.99.1",
                ],
            ),
            (
                Kind::Reserved,
                &[
                    "0.0.0.0",
                    "0.1.2.3",
                    "::",
                    "240.0.0.1",
                    "255.255.255.255",
                    "192.0.2.1",
                    "198.51.100.1",
                    "203.0.113.1",
                    "198.18.0.1",
                    "192.0.0.1",
                    "2001:db8::1",
                    "3fff::1",
                    "100::1",
                    "2001:2::1",
                    "5f00::1",
                    "4000::1",
                ],
            ),
        ] {
            for address in addresses {
                assert_eq!(Kind::of(address.parse().unwrap()), kind, "{address}");
            }
        }
    }

    #[test]
    fn a_range_has_the_addresses_of_its_prefix_and_no_others() {
        let contains = |range: &str, address: &str| {
            range.parse::<Range>().unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(contains("::ffff:10.0.0.0/104", "10.0.0.1"));
        assert!(contains("0.0.0.0/0", "255.0.0.1"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(contains("::/0", "fd00::1"));
        assert!(contains("fd00::/8", "fdff::1"));
        assert!(!contains("fd00::/8", "fe80::1"));
        assert!(contains("::1", "::1"));
        assert!(!contains("10.0.0.7", "10.0.0.8"));
        for bad in ["", "x", "10.0.0.7/8", "10.0.0.0/33", "10.0.0.0/", "fd00::/129", "10.0.0"] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
        for text in ["10.0.0.0/8", "10.0.0.7", "fd00::/8", "::1"] {
            assert_eq!(text.parse::<Range>().unwrap().to_string(), text);
        }
    }
}
