//! Sockets: which addresses a guest may connect to, send to and listen on.

use std::{
    future::ready,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::{
    WasiCtxBuilder, p2,
    p3::bindings::sockets::types as p3,
    sockets::{SocketAddrUse, TcpSocket, UdpSocket},
};

use super::{Attempt, Grants, LookedUp, Transport, target::Hosts};
use crate::{
    engine::EngineKind,
    workload::{State, spec::Network},
};

pub(super) const P2: &str = "@0.2.12";
pub(super) const P3: &str = "@0.3.0";

fn has_transport(network: &Network, transport: Transport) -> bool {
    network.sockets.iter().any(|target| target.has_scheme(transport))
        || network.listen.iter().any(|target| target.0.has_scheme(transport))
}

/// Lets a guest of this store make sockets of the kinds that are granted, and checks each address that
/// it uses.
pub(super) fn configure(grants: &Arc<Grants>, wasi: &mut WasiCtxBuilder) -> Option<LookedUp> {
    let has =
        |transport| grants.sockets.has_scheme(transport) || grants.listen.has_scheme(transport);
    let (tcp, udp) = (has(Transport::Tcp), has(Transport::Udp));
    if !(tcp || udp) {
        return None;
    }
    wasi.allow_tcp(tcp).allow_udp(udp);
    let by_name = |hosts: &Hosts| matches!(hosts, Hosts::Name(_) | Hosts::Below(_));
    let looked_up =
        grants.sockets.iter().any(|target| by_name(target.hosts())).then(LookedUp::default);
    let (grants, names) = (Arc::clone(grants), looked_up.clone());
    wasi.socket_addr_check(move |address, purpose| {
        Box::pin(ready(grants.allows_socket(address, purpose, names.as_ref())))
    });
    looked_up
}

impl Grants {
    fn allows_socket(
        &self,
        address: SocketAddr,
        purpose: SocketAddrUse,
        names: Option<&LookedUp>,
    ) -> bool {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let peer = |transport| self.reaches(transport, ip, port, names);
        let own = |transport| self.listen.has_address(transport, None, ip, port);
        // What the operating system does before it connects.
        let is_implicit = ip.is_unspecified() && port == 0;
        let (attempt, verb, scheme, allowed) = match purpose {
            SocketAddrUse::TcpConnect => {
                (Attempt::Tcp, "a connection to", "tcp", peer(Transport::Tcp))
            }
            SocketAddrUse::UdpSend => (Attempt::Udp, "a datagram to", "udp", peer(Transport::Udp)),
            // It is the other side's attempt, and the guest does not see it.
            SocketAddrUse::UdpReceive => return peer(Transport::Udp),
            SocketAddrUse::TcpBind if is_implicit => return true,
            SocketAddrUse::UdpBind if is_implicit => return true,
            SocketAddrUse::TcpBind | SocketAddrUse::TcpListen => {
                (Attempt::Listen, "listening on", "tcp", own(Transport::Tcp))
            }
            SocketAddrUse::UdpBind => (Attempt::Listen, "listening on", "udp", own(Transport::Udp)),
            // Who may listen may be reached.
            SocketAddrUse::TcpAccept => return true,
        };
        if !allowed {
            // A port that the system chooses may be any.
            let entry = match port {
                0 => format!("{scheme}://{address}").trim_end_matches('0').to_owned() + "*",
                _ => format!("{scheme}://{address}"),
            };
            let tried = format_args!("{verb} {scheme}://{address}");
            self.denials.denied(attempt, tried, "no entry has it", Some(entry));
        }
        allowed
    }

    fn reaches(
        &self,
        transport: Transport,
        ip: IpAddr,
        port: u16,
        names: Option<&LookedUp>,
    ) -> bool {
        let has = |name: Option<&str>| self.sockets.has_address(transport, name, ip, port);
        has(None) || names.is_some_and(|names| names.any_name_of(ip, |name| has(Some(name))))
    }

    /// Notes that a guest wanted a socket of a kind that its workload is granted none of.
    fn no_socket(&self, transport: Transport) {
        let (attempt, tried, scheme) = match transport {
            Transport::Tcp => (Attempt::Tcp, "a TCP socket", "tcp"),
            Transport::Udp => (Attempt::Udp, "a UDP socket", "udp"),
        };
        let entry = format!("{scheme}://HOST:PORT");
        self.denials.denied(attempt, tried, "the workload is granted none", Some(entry));
    }
}

type P2Family = p2::bindings::sockets::network::IpAddressFamily;
type P2Error = p2::bindings::sockets::network::ErrorCode;
type P2Tcp = Result<Resource<p2::TcpSocket>, P2Error>;
type P2Udp = Result<Resource<p2::UdpSocket>, P2Error>;
type P3Tcp = Result<Resource<TcpSocket>, p3::ErrorCode>;
type P3Udp = Result<Resource<UdpSocket>, p3::ErrorCode>;

/// Refuses the making of sockets of which none is granted, so that the attempt is seen. WASI's own
/// functions stay where some are.
pub(super) fn add_to_linker(
    linker: &mut Linker<State>,
    kind: EngineKind,
    network: &Network,
) -> wasmtime::Result<()> {
    let interface = |name: &str, version: &str| format!("wasi:sockets/{name}{version}");
    if !has_transport(network, Transport::Tcp) {
        linker.instance(&interface("tcp-create-socket", P2))?.func_wrap(
            "create-tcp-socket",
            |store, (_family,): (P2Family,)| {
                store.data().grants().no_socket(Transport::Tcp);
                Ok((P2Tcp::Err(P2Error::AccessDenied),))
            },
        )?;
        if kind == EngineKind::Concurrent {
            linker.instance(&interface("types", P3))?.func_wrap(
                "[static]tcp-socket.create",
                |store, (_family,): (p3::IpAddressFamily,)| {
                    store.data().grants().no_socket(Transport::Tcp);
                    Ok((P3Tcp::Err(p3::ErrorCode::AccessDenied),))
                },
            )?;
        }
    }
    if !has_transport(network, Transport::Udp) {
        linker.instance(&interface("udp-create-socket", P2))?.func_wrap(
            "create-udp-socket",
            |store, (_family,): (P2Family,)| {
                store.data().grants().no_socket(Transport::Udp);
                Ok((P2Udp::Err(P2Error::AccessDenied),))
            },
        )?;
        if kind == EngineKind::Concurrent {
            linker.instance(&interface("types", P3))?.func_wrap(
                "[static]udp-socket.create",
                |store, (_family,): (p3::IpAddressFamily,)| {
                    store.data().grants().no_socket(Transport::Udp);
                    Ok((P3Udp::Err(p3::ErrorCode::AccessDenied),))
                },
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::egress::Egress;

    fn grants(sockets: &[&str], listen: &[&str]) -> Grants {
        let network = Network {
            sockets: sockets.iter().map(|text| text.parse().unwrap()).collect(),
            listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
            ..Network::default()
        };
        Grants::new(&"shop".parse().unwrap(), &network, &Egress::default())
    }

    #[test]
    fn sockets_reach_the_addresses_and_ports_of_the_list() {
        let grants = grants(
            &[
                "10.0.0.1:5432",
                "10.0.0.2:0",
                "tcp://10.1.0.0/16:8000-8999",
                "*:443",
                "udp://[fd00::/8]:53",
            ],
            &[],
        );
        let allows =
            |address: &str, purpose| grants.allows_socket(address.parse().unwrap(), purpose, None);
        assert!(allows("10.0.0.1:5432", SocketAddrUse::TcpConnect));
        assert!(allows("10.0.0.1:5432", SocketAddrUse::UdpSend));
        assert!(allows("[::ffff:10.0.0.1]:5432", SocketAddrUse::TcpConnect));
        assert!(!allows("10.0.0.1:22", SocketAddrUse::TcpConnect));
        assert!(allows("10.0.0.2:22", SocketAddrUse::UdpSend));
        assert!(!allows("10.0.0.3:22", SocketAddrUse::TcpConnect));
        assert!(allows("10.1.2.3:8080", SocketAddrUse::TcpConnect));
        assert!(!allows("10.1.2.3:8080", SocketAddrUse::UdpSend));
        assert!(allows("8.8.8.8:443", SocketAddrUse::TcpConnect));
        assert!(!allows("169.254.169.254:443", SocketAddrUse::TcpConnect));
        assert!(allows("[fd00::1]:53", SocketAddrUse::UdpReceive));
        assert!(!allows("[fd00::1]:53", SocketAddrUse::TcpConnect));
        assert!(allows("0.0.0.0:0", SocketAddrUse::TcpBind));
        assert!(!allows("0.0.0.0:80", SocketAddrUse::TcpBind));
        assert!(!allows("127.0.0.1:0", SocketAddrUse::TcpBind));
        assert!(!allows("0.0.0.0:0", SocketAddrUse::TcpListen));
    }

    #[test]
    fn sockets_listen_where_the_list_says_and_nowhere_else() {
        let grants = grants(&[], &["tcp://127.0.0.1:9000-9010", "udp://127.0.0.1:*"]);
        let allows =
            |address: &str, purpose| grants.allows_socket(address.parse().unwrap(), purpose, None);
        assert!(allows("127.0.0.1:9000", SocketAddrUse::TcpBind));
        assert!(allows("127.0.0.1:9010", SocketAddrUse::TcpListen));
        assert!(!allows("127.0.0.1:9011", SocketAddrUse::TcpBind));
        assert!(!allows("0.0.0.0:9000", SocketAddrUse::TcpBind));
        // A port that the system chose is one that the list must have.
        assert!(!allows("0.0.0.0:40000", SocketAddrUse::TcpListen));
        assert!(!allows("127.0.0.1:0", SocketAddrUse::TcpBind));
        assert!(allows("127.0.0.1:0", SocketAddrUse::UdpBind));
        assert!(allows("8.8.8.8:1", SocketAddrUse::TcpAccept));
        assert!(!allows("127.0.0.1:9000", SocketAddrUse::TcpConnect));
    }

    #[test]
    fn a_socket_by_name_reaches_what_the_guest_was_told_the_name_stands_for() {
        let grants = grants(&["db.example:5432", "localhost:80"], &[]);
        let names = LookedUp::default();
        let allows = |address: &str| {
            grants.allows_socket(address.parse().unwrap(), SocketAddrUse::TcpConnect, Some(&names))
        };
        assert!(!allows("93.184.216.34:5432"));
        names.note("db.example", &["93.184.216.34".parse().unwrap(), "10.0.0.7".parse().unwrap()]);
        names.note("other.example", &["93.184.216.35".parse().unwrap()]);
        names.note("localhost", &["127.0.0.1".parse().unwrap()]);
        assert!(allows("93.184.216.34:5432"));
        assert!(!allows("93.184.216.34:22"));
        assert!(!allows("93.184.216.35:5432"));
        // A name does not lead inside.
        assert!(!allows("10.0.0.7:5432"));
        assert!(allows("127.0.0.1:80"));
        assert!(!allows("127.0.0.1:5432"));
    }
}
