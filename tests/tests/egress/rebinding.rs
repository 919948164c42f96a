//! DNS that changes its answer: between the check and the connection, and between two requests.

use backplane::workload::egress::Egress;

use crate::{
    server::{Authority, Server},
    support::{Dns, Host, Operator, http, spec, within},
};

/// Two servers on one port, of which the second address alone is granted.
async fn two(tls: Option<&Authority>) -> (Server, Server) {
    let acceptor =
        |tls: Option<&Authority>| tls.map(|tls| tls.tls(&["api.example"], &["http/1.1"]));
    let granted = Server::with("127.0.0.2:0", acceptor(tls)).await;
    let inside = Server::with(&format!("127.0.0.1:{}", granted.port()), acceptor(tls)).await;
    (granted, inside)
}

#[test]
fn a_connection_goes_to_the_address_that_was_checked() {
    Operator::watch(async |operator| {
        let (granted, inside) = two(None).await;
        let port = granted.port();
        let dns = Dns::new(&[("api.example", &["127.0.0.2", "127.0.0.1"])]);
        let grants = http(&[&format!("http://api.example:{port}"), &format!("127.0.0.2:{port}")]);
        let host = Host::outbound(grants, &dns).await;

        let url = format!("http://api.example:{port}/");
        host.fetched(&url).await;
        assert_eq!(dns.asked("api.example"), 1, "it was looked up behind the check");
        // The connection is there; nothing is looked up for it again.
        host.fetched(&format!("http://api.example:{port}/close")).await;
        assert_eq!(dns.asked("api.example"), 1);
        within(granted.has_open(0)).await;

        let (status, text) = host.fetch(&url).await;
        assert_eq!(status, 502);
        assert!(text.contains("DestinationIpProhibited"), "{text}");
        assert_eq!((dns.asked("api.example"), inside.connections()), (2, 0));
        let lines = operator.new_lines();
        assert!(lines[0].contains("stands for 127.0.0.1, which is loopback"), "{lines:?}");
    });
}

#[test]
fn over_tls_too() {
    Operator::watch(async |_| {
        let authority = Authority::new();
        let (granted, inside) = two(Some(&authority)).await;
        let port = granted.port();
        let dns = Dns::new(&[("api.example", &["127.0.0.2", "127.0.0.1"])]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), authority.pem()).unwrap();
        let mut spec = spec("outbound");
        spec.network =
            http(&[&format!("https://api.example:{port}"), &format!("127.0.0.2:{port}")]);
        let host = Host::with(spec, Egress::new(dns.clone(), Some(file.path())).unwrap()).await;
        host.fetched(&format!("https://api.example:{port}/close")).await;
        assert_eq!((dns.asked("api.example"), granted.connections()), (1, 1));
        within(granted.has_open(0)).await;
        let (_, text) = host.fetch(&format!("https://api.example:{port}/")).await;
        assert!(text.contains("DestinationIpProhibited"), "{text}");
        assert_eq!(inside.connections(), 0);
    });
}

#[test]
fn of_several_addresses_only_those_that_are_allowed_are_tried() {
    Operator::watch(async |operator| {
        let (granted, inside) = two(None).await;
        let port = granted.port();
        let dns = Dns::new(&[("api.example", &["127.0.0.1 ::1 127.0.0.2 169.254.169.254"])]);
        let grants = http(&[&format!("http://api.example:{port}"), &format!("127.0.0.2:{port}")]);
        let host = Host::outbound(grants, &dns).await;
        host.fetched(&format!("http://api.example:{port}/")).await;
        assert_eq!((granted.connections(), inside.connections()), (1, 0));
        assert!(operator.new_lines().is_empty());
    });
}

#[test]
fn a_socket_by_name_does_not_reach_what_the_name_is_pointed_at() {
    Operator::watch(async |operator| {
        let inside = Server::start("127.0.0.1:0").await;
        let port = inside.port();
        let dns = Dns::new(&[("db.example", &["127.0.0.1"])]);
        let mut spec = spec("outbound");
        spec.network.sockets = vec![format!("db.example:{port}").parse().unwrap()];
        let host = Host::with(spec, Egress::new(dns.clone(), None).unwrap()).await;
        // The guest may look the name up, and not connect to where it leads.
        let (status, text) = host.get("/names?name=db.example").await;
        assert_eq!((status, text.as_str()), (200, "ok 127.0.0.1\n"));
        let (status, text) = host.get(&format!("/tcp?to=db.example:{port}")).await;
        assert_eq!(status, 502);
        assert!(text.contains("PermissionDenied"), "{text}");
        assert_eq!((operator.denied("tcp"), inside.connections()), (1, 0));
    });
}
