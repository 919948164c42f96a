//! Outbound requests that are granted: connections, timeouts, headers and bodies.

use std::time::Duration;

use backplane::workload::{
    egress::{Egress, Resolver, Resolving},
    spec::{Network, Outbound},
};
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::oneshot,
};

use crate::{
    server::Server,
    support::{Dns, Host, Operator, http, spec, within},
};

/// A workload that may reach every port of the loopback address, with these settings.
async fn host(outbound: Outbound) -> Host {
    let mut network = http(&["127.0.0.1"]);
    network.outbound = outbound;
    Host::outbound(network, &Dns::default()).await
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    Operator::watch(async |operator| {
        let server = Server::start("127.0.0.1:0").await;
        let host = host(Outbound::default()).await;
        for path in ["/a", "/b", "/c"] {
            let text = host.fetched(&server.url(path)).await;
            assert!(text.starts_with(&format!("HTTP/1.1 GET {path} on 1\n")), "{text}");
        }
        let path = format!("/?url={}", server.url("/post"));
        let (_, text) = host.ask("POST", &path, "x".repeat(300_000)).await;
        assert!(text.starts_with("200\nHTTP/1.1 POST /post on 1\n"), "{}", &text[..100]);
        assert!(text.ends_with(&"x".repeat(300_000)));
        assert_eq!((server.connections(), operator.connections()), (1, 1));
        assert_eq!(operator.outcome("answered"), 4);
    });
}

#[test]
fn workloads_do_not_share_connections() {
    Operator::watch(async |_| {
        let server = Server::start("127.0.0.1:0").await;
        for expected in 1..=2 {
            host(Outbound::default()).await.fetched(&server.url("/")).await;
            assert_eq!(server.connections(), expected);
        }
    });
}

#[test]
fn a_connection_that_nobody_uses_ends() {
    Operator::watch(async |operator| {
        let server = Server::start("127.0.0.1:0").await;
        let outbound = Outbound { idle_timeout: Duration::from_millis(50), ..Outbound::default() };
        let host = host(outbound).await;
        host.fetched(&server.url("/")).await;
        within(server.has_open(0)).await;
        host.fetched(&server.url("/")).await;
        assert_eq!(server.connections(), 2);
        within(server.has_open(0)).await;
        assert!(operator.connections() <= 1);
    });
}

#[test]
fn a_kept_connection_that_the_server_has_closed_is_not_the_guests_concern() {
    Operator::watch(async |_| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        // Keeps connections alive in its words and closes each behind its answer.
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1024];
                assert!(stream.read(&mut head).await.unwrap() > 0);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            }
        });
        let host = host(Outbound::default()).await;
        for _ in 0..20 {
            assert_eq!(host.fetched(&url).await, "ok");
        }
    });
}

#[test]
fn nothing_is_added_to_a_request_but_what_http_needs() {
    Operator::watch(async |_| {
        let server = Server::start("127.0.0.1:0").await;
        let text = host(Outbound::default()).await.fetched(&server.url("/x")).await;
        let expected = format!("HTTP/1.1 GET /x on 1\nhost: {}\n", server.address);
        // `wasi:http` 0.2 does not tell that a body is empty before it is.
        assert_eq!(text.replace("transfer-encoding: chunked\n", ""), expected);
    });
}

/// Answers each connection with these bytes, and keeps it open.
async fn scripted(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer).await.unwrap();
            open.push(stream);
        }
    });
    url
}

#[test]
fn a_server_that_is_silent_is_given_up() {
    Operator::watch(async |operator| {
        let short = Duration::from_millis(50);
        let silent = scripted(b"").await;
        let outbound = Outbound { first_byte_timeout: short, ..Outbound::default() };
        let (status, text) = host(outbound.clone()).await.fetch(&silent).await;
        assert_eq!(status, 502);
        assert!(text.contains("ConnectionReadTimeout"), "{text}");
        // A guest may wait for less than the settings say, and not for more.
        let path = format!("/?first=3600000&url={silent}");
        let (_, text) = host(outbound).await.get(&path).await;
        assert!(text.contains("ConnectionReadTimeout"), "{text}");
        let path = format!("/?first=50&url={silent}");
        let (_, text) = host(Outbound::default()).await.get(&path).await;
        assert!(text.contains("ConnectionReadTimeout"), "{text}");
        assert_eq!(operator.outcome("timeout"), 3);

        // Within a body the response is cut off.
        let part = scripted(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart").await;
        let outbound = Outbound { between_bytes_timeout: short, ..Outbound::default() };
        let mut spec = spec("outbound");
        spec.network = Network { outbound, ..http(&["127.0.0.1"]) };
        spec.limits.deadline = None;
        let host = Host::start(spec).await;
        let response = host.send("GET", &format!("/?url={part}"), "").await.unwrap();
        let body = within(response.into_body().collect()).await;
        assert!(body.is_err(), "{:?}", body.map(|body| body.to_bytes()));
    });
}

#[test]
fn a_server_that_does_not_do_tls_is_given_up() {
    Operator::watch(async |operator| {
        let silent = scripted(b"").await.replace("http://", "https://");
        let authority = crate::server::Authority::new();
        let mut spec = spec("outbound");
        spec.network = http(&["127.0.0.1"]);
        spec.network.outbound.connect_timeout = Duration::from_millis(200);
        let egress = crate::tls::egress(&Dns::default(), &authority);
        let (_, text) = Host::with(spec, egress).await.fetch(&silent).await;
        assert!(text.contains("ConnectionTimeout"), "{text}");
        assert_eq!(operator.outcome("timeout"), 1);
    });
}

/// Never answers.
#[derive(Debug)]
struct NoDns;

impl Resolver for NoDns {
    fn resolve<'a>(&'a self, _name: &'a str) -> Resolving<'a> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_resolver_that_is_silent_is_given_up() {
    Operator::watch(async |_| {
        let mut spec = spec("outbound");
        spec.network = http(&["api.example"]);
        spec.network.outbound.connect_timeout = Duration::from_millis(50);
        let host = Host::with(spec, Egress::new(NoDns, None).unwrap()).await;
        let (_, text) = host.fetch("http://api.example/").await;
        assert!(text.contains("DnsTimeout"), "{text}");
    });
}

#[test]
fn a_name_without_an_address_and_a_port_without_a_server_say_so() {
    Operator::watch(async |operator| {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = format!("http://{}/", gone.local_addr().unwrap());
        drop(gone);
        let host = Host::outbound(http(&["127.0.0.1", "none.example"]), &Dns::default()).await;
        let (_, text) = host.fetch(&closed).await;
        assert!(text.contains("ConnectionRefused"), "{text}");
        let (_, text) = host.fetch("http://none.example/").await;
        assert!(text.contains("DnsError"), "{text}");
        assert_eq!(operator.outcome("failed"), 2);
        assert_eq!(operator.connections(), 0);
    });
}

#[test]
fn a_response_whose_head_is_too_large_is_refused() {
    Operator::watch(async |_| {
        let head =
            format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(20_000));
        let url = scripted(head.leak().as_bytes()).await;
        let small = Outbound { response_head: 10 << 10, ..Outbound::default() };
        let (_, text) = host(small).await.fetch(&url).await;
        assert!(text.contains("HttpResponseHeaderSectionSize"), "{text}");
        assert_eq!(host(Outbound::default()).await.fetched(&url).await, "");
    });
}

#[test]
fn what_is_no_http_says_so() {
    Operator::watch(async |_| {
        let url = scripted(b"SSH-2.0-x\r\n\r\n").await;
        let (_, text) = host(Outbound::default()).await.fetch(&url).await;
        assert!(text.contains("HttpProtocolError"), "{text}");
        let url = scripted(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        );
        let (status, text) = host(Outbound::default()).await.fetch(&url.await).await;
        assert!(status == 502 || text.starts_with("101"), "{status} {text}");
    });
}

#[test]
fn a_connect_request_is_refused() {
    Operator::watch(async |operator| {
        let server = Server::start("127.0.0.1:0").await;
        let host = host(Outbound::default()).await;
        let (_, text) = host.ask("CONNECT", &format!("/?url={}", server.url("/")), "").await;
        assert!(text.contains("HttpRequestMethodInvalid"), "{text}");
        assert_eq!((server.connections(), operator.outcome("denied")), (0, 1));
    });
}

#[test]
fn a_guest_that_gives_up_in_the_middle_does_not_look_as_if_it_were_done() {
    Operator::watch(async |_| {
        let server = Server::start("127.0.0.1:0").await;
        for guest in ["outbound", "outbound-p3"] {
            let mut spec = spec(guest);
            spec.network = http(&["127.0.0.1"]);
            let host = Host::start(spec).await;
            let (status, text) = host.get(&format!("/give-up?url={}", server.url("/early"))).await;
            assert!(status == 502 && text.contains("given up"), "{guest}: {text}");
            within(server.has_cut(if guest == "outbound" { 1 } else { 2 })).await;
            within(server.has_open(0)).await;
        }
    });
}

#[test]
fn a_guest_that_ends_while_it_waits_ends_its_request() {
    Operator::watch(async |operator| {
        let server = Server::start("127.0.0.1:0").await;
        let mut spec = spec("outbound");
        spec.network = http(&["127.0.0.1"]);
        spec.limits.deadline = Some(Duration::from_millis(300));
        let host = Host::start(spec).await;
        let path = format!("/?url={}", server.url("/hold"));
        assert!(within(host.send("GET", &path, "")).await.is_err());
        within(server.has_open(0)).await;
        assert_eq!(operator.outcome("cancelled"), 1);
    });
}

#[test]
fn a_client_that_does_not_read_holds_the_server_back() {
    const LARGE: usize = 256 << 20;
    Operator::watch(async |_| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (blocked, is_blocked) = oneshot::channel();
        let sender = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let (chunk, mut sent, mut blocked) = (vec![b'x'; 64 << 10], 0, Some(blocked));
            // It is blocked when nothing has gone for as long as others had their turn many times.
            let mut idle = 0;
            while sent < LARGE {
                match stream.try_write(&chunk[..chunk.len().min(LARGE - sent)]) {
                    Ok(some) => (sent, idle) = (sent + some, 0),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        idle += 1;
                        if idle == 1000
                            && let Some(blocked) = blocked.take()
                        {
                            blocked.send(()).unwrap();
                        }
                        tokio::task::yield_now().await;
                    }
                    Err(_) => return sent,
                }
            }
            sent
        });
        let host = host(Outbound::default()).await;
        let response = within(host.send("GET", &format!("/?url={url}"), "")).await.unwrap();
        within(is_blocked).await.unwrap();
        drop(response);
        let sent = within(sender).await.unwrap();
        assert!(sent < LARGE / 4, "{sent} bytes were taken from the server");
    });
}
