//! The table of attempts: what a guest tried, what it saw, and what its operator saw.

use std::fmt::Write as _;

use backplane::workload::{egress::Egress, spec::Network};

use crate::{
    server::Server,
    support::{Dns, Host, Operator, http, spec},
};

/// One row of the table.
struct Attempt {
    what: &'static str,
    path: String,
    /// What the guest is told.
    guest: &'static str,
    /// The kind that is counted and the words of the line in the log; none where the operator has
    /// nothing to see.
    operator: Option<(&'static str, &'static str)>,
}

fn attempt(
    what: &'static str,
    path: impl Into<String>,
    guest: &'static str,
    operator: (&'static str, &'static str),
) -> Attempt {
    Attempt { what, path: path.into(), guest, operator: Some(operator) }
}

const DENIED: &str = "HttpRequestDenied";
const PROHIBITED: &str = "DestinationIpProhibited";
const INVALID: &str = "HttpRequestUriInvalid";

/// Names that somebody points at the host's own network.
fn dns() -> Dns {
    Dns::new(&[
        ("api.example", &["127.0.0.1"]),
        ("v6.wild.example", &["::1"]),
        ("mapped.wild.example", &["::ffff:127.0.0.1"]),
        ("zero.wild.example", &["0.0.0.0"]),
        ("meta.wild.example", &["169.254.169.254"]),
        ("private.wild.example", &["10.0.0.7"]),
        ("shared.wild.example", &["100.64.0.7"]),
        ("local.wild.example", &["fd00::7"]),
        ("link.wild.example", &["fe80::7"]),
        ("nat64.wild.example", &["64:ff9b::7f00:1"]),
        ("6to4.wild.example", &["2002:7f00:1::1"]),
        ("teredo.wild.example", &["2001:0:7f00:1::1"]),
        ("group.wild.example", &["224.0.0.1"]),
        ("localhost", &["127.0.0.1"]),
    ])
}

/// What is granted: names whose DNS leads inside, every public address over TLS, one server on the
/// internet for sockets, and the look-up of one name.
fn grants(port: u16) -> Network {
    let mut network = http(&[
        &format!("http://api.example:{port}"),
        &format!("http://*.wild.example:{port}"),
        "https://*",
    ]);
    network.sockets = vec![format!("*.db.example:{port}").parse().unwrap()];
    network.name_lookup = vec!["api.example".parse().unwrap()];
    network
}

/// Attempts that go through `wasi:http` in any version.
fn requests(port: u16) -> Vec<Attempt> {
    let http = |what, url: String, guest, line| {
        attempt(what, format!("/?url={url}"), guest, ("http", line))
    };
    let no_entry = "no entry has it";
    let not_an_address = "ends in a number and is not an IP address";
    let mut all = vec![
        http("a name", format!("http://other.example:{port}/"), DENIED, no_entry),
        http("an address", format!("http://127.0.0.1:{port}/"), DENIED, no_entry),
        http("an IPv6 address", format!("http://[::1]:{port}/"), DENIED, no_entry),
        http("a mapped address", format!("http://[::ffff:127.0.0.1]:{port}/"), DENIED, no_entry),
        http("cloud metadata", "http://169.254.169.254/latest/".into(), DENIED, no_entry),
        http("under `https://*`", "https://169.254.169.254/".into(), DENIED, no_entry),
        http("a short address", format!("http://127.1:{port}/"), INVALID, not_an_address),
        http("a hexadecimal one", format!("http://0x7f.1:{port}/"), INVALID, not_an_address),
        http("a decimal one", format!("http://2130706433:{port}/"), INVALID, not_an_address),
        http("an octal one", format!("http://0177.0.0.1:{port}/"), INVALID, not_an_address),
        http("localhost", format!("http://localhost:{port}/"), DENIED, no_entry),
        http("localhost.", format!("http://localhost.:{port}/"), DENIED, no_entry),
        http("another port", "http://api.example:1/".into(), DENIED, no_entry),
        http("another scheme", format!("https://api.example:{port}/"), DENIED, no_entry),
        http("port 0", "http://api.example:0/".into(), INVALID, "has a port that is none"),
        http("a password", format!("http://u:hunter2@api.example:{port}/"), INVALID, "a user name"),
        http("a user", format!("http://u@api.example:{port}/"), INVALID, "a user name"),
        http("punycode", format!("http://xn--bcher-kva.example:{port}/"), DENIED, no_entry),
        http("`https://*`, inside", "https://localhost/".into(), PROHIBITED, "loopback"),
    ];
    for (what, name, kind) in [
        ("a granted name: loopback", "api.example", "127.0.0.1, which is loopback"),
        ("in capitals", "API.Example", "127.0.0.1, which is loopback"),
        ("with a dot", "api.example.", "127.0.0.1, which is loopback"),
        ("IPv6 loopback", "v6.wild.example", "::1, which is loopback"),
        ("mapped", "mapped.wild.example", "127.0.0.1, which is loopback"),
        ("unspecified", "zero.wild.example", "0.0.0.0, which is reserved"),
        ("metadata", "meta.wild.example", "which is link-local"),
        ("private", "private.wild.example", "which is private"),
        ("shared", "shared.wild.example", "which is private"),
        ("unique local", "local.wild.example", "which is private"),
        ("link-local", "link.wild.example", "which is link-local"),
        ("NAT64", "nat64.wild.example", "which is translated"),
        ("6to4", "6to4.wild.example", "which is translated"),
        ("Teredo", "teredo.wild.example", "which is translated"),
        ("multicast", "group.wild.example", "which is multicast"),
    ] {
        all.push(http(what, format!("http://{name}:{port}/"), PROHIBITED, kind));
    }
    all
}

/// What looks like a granted host and is a user name: WASI 0.3 refuses it by itself.
fn behind_at(port: u16, refusal: &'static str, is_ours: bool) -> Attempt {
    Attempt {
        what: "an address behind `@`",
        path: format!("/?url=http://api.example:{port}@127.0.0.1/"),
        guest: refusal,
        operator: is_ours.then_some(("http", "a user name")),
    }
}

/// Attempts through sockets and look-ups, in the words of WASI 0.2's standard library and 0.3.
fn sockets(port: u16, refused: &'static str, no_name: &'static str) -> Vec<Attempt> {
    let tcp =
        |what, to: String| attempt(what, format!("/tcp?to={to}"), refused, ("tcp", "no entry"));
    let udp =
        |what, to: String| attempt(what, format!("/udp?to={to}"), refused, ("udp", "no entry"));
    let name = |what, name: &str| {
        attempt(what, format!("/names?name={name}"), no_name, ("name", "no entry"))
    };
    vec![
        tcp("TCP to loopback", format!("127.0.0.1:{port}")),
        tcp("TCP to IPv6 loopback", format!("[::1]:{port}")),
        tcp("TCP to metadata", "169.254.169.254:80".into()),
        udp("UDP to loopback", format!("127.0.0.1:{port}")),
        udp("UDP to metadata", "169.254.169.254:53".into()),
        name("a look-up", "inside.example"),
        name("of localhost", "localhost"),
    ]
}

/// Makes each attempt and checks what the guest and the operator see of it; writes the rows.
async fn try_all(
    table: &mut String,
    operator: &Operator,
    host: &Host,
    guest: &str,
    attempts: Vec<Attempt>,
) {
    for attempt in attempts {
        operator.new_lines();
        let kind = attempt.operator.map(|(kind, _)| kind);
        let before = kind.map(|kind| operator.denied(kind));
        let (status, text) = host.get(&attempt.path).await;
        let lines = operator.new_lines();
        let text = text.trim();
        let (what, path) = (attempt.what, &attempt.path);
        assert!(status == 502 && text.contains(attempt.guest), "{what} {path}: {status} {text}");
        assert!(!lines.iter().any(|line| line.contains("hunter2")), "{what} {path}: {lines:?}");
        let seen = match attempt.operator {
            None => "-".to_owned(),
            Some((kind, words)) => {
                assert_eq!(operator.denied(kind), before.unwrap() + 1, "{what} {path}");
                let line = lines.iter().find(|line| line.contains(words));
                let line = line.unwrap_or_else(|| panic!("{what} {path}: {lines:?}"));
                assert!(line.contains("WARN egress: "), "{line}");
                assert!(line.contains("workload=shop"), "{line}");
                let (_, message) = line.split_once("egress: ").unwrap();
                format!("{kind}: {}", message.split(" workload=").next().unwrap())
            }
        };
        writeln!(table, "| {guest} | {what} | `{path}` | `{text}` | {seen} |").unwrap();
    }
}

#[test]
fn what_is_not_granted_is_denied_told_and_counted_however_it_is_tried() {
    Operator::watch(async |operator| {
        let inside = Server::start("127.0.0.1:0").await;
        let port = inside.port();
        let mut table = "| WASI | attempt | path | the guest sees | the operator sees |\n\
                         |---|---|---|---|---|\n"
            .to_owned();
        let dns = dns();
        let host = Host::outbound(grants(port), &dns).await;
        // So that the limit of lines in the log is not what the table shows.
        let fresh = async || Host::outbound(grants(port), &dns).await;

        let mut rows = requests(port).into_iter();
        loop {
            let some: Vec<_> = rows.by_ref().take(15).collect();
            if some.is_empty() {
                break;
            }
            try_all(&mut table, operator, &fresh().await, "0.2", some).await;
        }
        try_all(
            &mut table,
            operator,
            &host,
            "0.2",
            sockets(port, "PermissionDenied", "PermissionDenied"),
        )
        .await;
        let listen = |what, on: &str| {
            attempt(what, format!("/listen?on={on}"), "PermissionDenied", ("listen", "no entry"))
        };
        let listening = vec![
            listen("listening", "127.0.0.1:0"),
            listen("on every address", "0.0.0.0:8099"),
            listen("on a port of the system's", "0.0.0.0:0"),
        ];
        try_all(&mut table, operator, &host, "0.2", listening).await;

        let nothing = Host::outbound(Network::default(), &dns).await;
        let none = |what, path: &str, kind| {
            attempt(what, path, "PermissionDenied", (kind, "is granted none"))
        };
        let without = vec![
            none("TCP, none granted", "/tcp?to=127.0.0.1:80", "tcp"),
            none("UDP, none granted", "/udp?to=127.0.0.1:80", "udp"),
            attempt(
                "HTTP, none granted",
                "/?url=http://api.example/",
                DENIED,
                ("http", "no entry"),
            ),
        ];
        try_all(&mut table, operator, &nothing, "0.2", without).await;
        let row = vec![behind_at(port, INVALID, true)];
        try_all(&mut table, operator, &fresh().await, "0.2", row).await;

        let p3 = async |network| {
            let spec = backplane::workload::spec::Spec { network, ..spec("outbound-p3") };
            Host::with(spec, Egress::new(dns.clone(), None).unwrap()).await
        };
        let mut rows = requests(port).into_iter();
        loop {
            let some: Vec<_> = rows.by_ref().take(15).collect();
            if some.is_empty() {
                break;
            }
            try_all(&mut table, operator, &p3(grants(port)).await, "0.3", some).await;
        }
        let row = vec![behind_at(port, "the authority is refused", false)];
        try_all(&mut table, operator, &p3(grants(port)).await, "0.3", row).await;
        let rows = sockets(port, "AccessDenied", "AccessDenied");
        try_all(&mut table, operator, &p3(grants(port)).await, "0.3", rows).await;
        let none =
            |what, path: &str, kind| attempt(what, path, "AccessDenied", (kind, "is granted none"));
        let without = vec![
            none("TCP, none granted", "/tcp?to=127.0.0.1:80", "tcp"),
            none("UDP, none granted", "/udp?to=127.0.0.1:80", "udp"),
        ];
        try_all(&mut table, operator, &p3(Network::default()).await, "0.3", without).await;

        redirects(&mut table, operator, &inside).await;
        println!("{table}");
        assert_eq!(inside.connections(), 0, "an attempt came through");
        // What is not listed is not even looked up.
        assert_eq!(dns.asked("other.example"), 0);
        assert_eq!(dns.asked("inside.example"), 0);
    });
}

/// A granted server redirects to one that is not.
async fn redirects(table: &mut String, operator: &Operator, inside: &Server) {
    let front = Server::start("127.0.0.1:0").await;
    let host = Host::outbound(http(&[&front.address.to_string()]), &Dns::default()).await;
    let url = front.url(&format!("/redirect?{}", inside.url("/")));
    let (status, text) = host.fetch(&url).await;
    assert_eq!((status, text.as_str()), (200, "302\n"), "the host follows no redirect");
    writeln!(table, "| 0.2 | a redirect to loopback | `/?url=URL` | `302` | - |").unwrap();
    let followed = attempt(
        "a redirect that the guest follows",
        format!("/follow?url={url}"),
        DENIED,
        ("http", "no entry has it"),
    );
    try_all(table, operator, &host, "0.2", vec![followed]).await;
}

#[test]
fn a_name_of_another_script_does_not_get_past_the_guests_own_interface() {
    Operator::watch(async |_| {
        let host = Host::outbound(http(&["http://*"]), &Dns::default()).await;
        let (status, text) = host.get("/?url=http://b%C3%BCcher.example/").await;
        assert_eq!(status, 502);
        assert!(text.contains("the authority is refused"), "{text}");
    });
}

#[test]
fn what_is_granted_is_reached() {
    Operator::watch(async |operator| {
        let server = Server::start("127.0.0.1:0").await;
        let port = server.port();
        let dns = Dns::new(&[("api.example", &["127.0.0.1"]), ("localhost", &["127.0.0.1"])]);
        let mut network = http(&[
            &format!("http://api.example:{port}"),
            &format!("http://localhost:{port}"),
            &format!("http://127.0.0.0/8:{port}"),
        ]);
        network.sockets = vec![
            format!("tcp://127.0.0.1:{port}").parse().unwrap(),
            format!("localhost:{port}").parse().unwrap(),
            "udp://127.0.0.0/8:*".parse().unwrap(),
        ];
        network.listen = vec!["127.0.0.1:*".parse().unwrap()];
        network.name_lookup = vec!["*.example".parse().unwrap()];
        for guest in ["outbound", "outbound-p3"] {
            let spec = backplane::workload::spec::Spec { network: network.clone(), ..spec(guest) };
            let host = Host::with(spec, Egress::new(dns.clone(), None).unwrap()).await;
            for name in ["api.example", "API.example.", "localhost", "127.0.0.1"] {
                let text = host.fetched(&format!("http://{name}:{port}/x?y")).await;
                assert!(text.starts_with("HTTP/1.1 GET /x?y on "), "{text}");
                assert!(text.contains(&format!("host: {name}:{port}\n")), "{text}");
            }
            let mut paths = vec![
                format!("/tcp?to=127.0.0.1:{port}"),
                format!("/udp?to=127.0.0.1:{port}"),
                "/names?name=api.example".to_owned(),
                "/names?name=localhost".to_owned(),
            ];
            if guest == "outbound" {
                paths.push(format!("/tcp?to=localhost:{port}"));
                paths.push("/listen?on=127.0.0.1:0".to_owned());
            }
            for path in paths {
                let (status, text) = host.get(&path).await;
                assert_eq!(status, 200, "{guest} {path}: {text}");
                assert!(text.contains("127.0.0.1"), "{guest} {path}: {text}");
            }
        }
        for kind in ["http", "tcp", "udp", "listen", "name"] {
            assert_eq!(operator.denied(kind), 0, "{kind}");
        }
        assert!(operator.new_lines().is_empty());
    });
}

#[test]
fn a_guest_that_tries_for_ever_does_not_fill_the_log() {
    Operator::watch(async |operator| {
        let host = Host::outbound(Network::default(), &Dns::default()).await;
        for _ in 0..100 {
            host.fetch("http://127.0.0.1:1/").await;
        }
        let lines = operator.new_lines();
        assert!((1..=40).contains(&lines.len()), "{} lines", lines.len());
        assert_eq!(operator.denied("http"), 100);
        assert_eq!(operator.outcome("denied"), 100);
        let line = &lines[0];
        assert!(
            line.contains("add \"http://127.0.0.1:1\" to `workloads.shop.network.http`"),
            "{line}"
        );
    });
}
