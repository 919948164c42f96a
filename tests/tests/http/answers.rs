//! Requests and responses: both versions of `wasi:http`, bodies, routes, what is refused.

use std::time::Duration;

use backplane::workload::spec::Route;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::support::{Host, spec, within};

#[tokio::test]
async fn a_component_of_wasi_0_2_answers() {
    let host = Host::start([spec("hello")]).await;
    assert_eq!(host.get("/").await, (200, "Hello from Backplane\n".to_owned()));
}

#[tokio::test]
async fn a_component_of_wasi_0_3_answers() {
    let host = Host::start([spec("hello-p3")]).await;
    assert_eq!(host.get("/").await, (200, "Hello from Backplane\n".to_owned()));
}

/// A body goes in and out as it is written, and neither side waits for its end.
async fn echoes_while_the_body_is_sent(guest: &str) {
    let host = Host::start([spec(guest)]).await;
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = String::new();
    for word in ["first", "second", "third"] {
        let chunk = format!("{:x}\r\n{word}\r\n", word.len());
        stream.write_all(chunk.as_bytes()).await.unwrap();
        within(read_until(&mut stream, &mut seen, word)).await;
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    within(read_until(&mut stream, &mut seen, "0\r\n\r\n")).await;
    within(host.idle()).await;
}

pub(crate) async fn read_until(stream: &mut TcpStream, seen: &mut String, text: &str) {
    while !seen.contains(text) {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the connection ended after {seen:?}");
        seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
}

#[tokio::test]
async fn a_body_streams_both_ways_through_wasi_0_2() {
    echoes_while_the_body_is_sent("hello").await;
}

#[tokio::test]
async fn a_body_streams_both_ways_through_wasi_0_3() {
    echoes_while_the_body_is_sent("hello-p3").await;
}

/// Too large for any buffer on the way.
async fn echoes_a_large_body(guest: &str) {
    let host = Host::start([spec(guest)]).await;
    let body: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
    let response = host.request("POST", "/echo").body(body.clone()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.unwrap() == body, "the body came back changed");
}

#[tokio::test]
async fn a_large_body_comes_back_whole_through_wasi_0_2() {
    echoes_a_large_body("hello").await;
}

#[tokio::test]
async fn a_large_body_comes_back_whole_through_wasi_0_3() {
    echoes_a_large_body("hello-p3").await;
}

#[tokio::test]
async fn a_guest_that_is_slower_than_its_response_head_is_waited_for() {
    let host = Host::start([spec("misbehave")]).await;
    assert_eq!(host.get("/timer?ms=100").await, (200, "waited 100 ms\n".to_owned()));
    let (status, body) = host.get("/stream?bytes=3000000").await;
    assert_eq!((status, body.len()), (200, 3_000_000));
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let host = Host::start([spec("hello")]).await;
    let get = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let last = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = host.raw(&[get, get, last].concat()).await;
    assert_eq!(answer.matches("Hello from Backplane").count(), 3, "{answer}");
}

#[tokio::test]
async fn hosts_and_paths_choose_the_workload() {
    let route = |name: &str, guest: &str, hosts: &[&str], path: &str| {
        let mut spec = spec(guest);
        spec.name = name.parse().unwrap();
        spec.http = Some(Route {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            path: path.to_owned(),
            strip: false,
        });
        spec
    };
    let host = Host::start([
        route("greeter", "hello", &["Greet.example"], "/"),
        route("other", "misbehave", &[], "/api"),
    ])
    .await;
    let get = async |name: &str, path: &str| {
        let response = host.request("GET", path).header("host", name).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(get("greet.example:8080", "/any").await.1, "Hello from Backplane\n");
    assert_eq!(get("GREET.EXAMPLE", "/").await.1, "Hello from Backplane\n");
    assert_eq!(get("else.example", "/api/x").await.1, "ok\n");
    assert_eq!(get("else.example", "/apis").await, (404, "404 Not Found\n".to_owned()));
    assert_eq!(get("else.example", "/").await, (404, "404 Not Found\n".to_owned()));
}

#[tokio::test]
async fn a_wildcard_takes_what_is_below_its_domain_and_a_prefix_can_be_stripped() {
    let route = |name: &str, guest: &str, host: &str, path: &str, strip| {
        let mut spec = spec(guest);
        spec.name = name.parse().unwrap();
        spec.http = Some(Route { hosts: vec![host.to_owned()], path: path.to_owned(), strip });
        spec
    };
    let host = Host::start([
        route("exact", "hello", "a.shop.example", "/", false),
        route("below", "misbehave", "*.shop.example", "/api", true),
    ])
    .await;
    let get = async |name: &str, path: &str| {
        let response = host.request("GET", path).header("host", name).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(get("A.Shop.example.", "/api/see").await.1, "Hello from Backplane\n");
    let (_, seen) = get("B.shop.example:80", "/api/see?x=/api").await;
    assert!(seen.starts_with("GET http://B.shop.example:80/see?x=/api\n"), "{seen}");
    for path in ["/api", "/api/", "/api?x=1"] {
        assert_eq!(get("b.shop.example", path).await, (200, "ok\n".to_owned()), "{path}");
    }
    assert_eq!(get("b.shop.example", "/apis/see").await.0, 404);
    assert_eq!(get("shop.example", "/api").await.0, 404);
    assert_eq!(get(&format!("{}.shop.example", "x".repeat(300)), "/api").await.0, 404);
}

#[tokio::test]
async fn a_request_that_names_no_host_or_two_is_refused() {
    let host = Host::start([spec("hello")]).await;
    let close = "connection: close\r\n\r\n";
    let none = host.raw(&format!("GET / HTTP/1.1\r\n{close}")).await;
    assert!(none.starts_with("HTTP/1.1 400 "), "{none}");
    let two = host.raw(&format!("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n{close}")).await;
    assert!(two.starts_with("HTTP/1.1 400 "), "{two}");
    let tunnel = host.raw(&format!("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n{close}")).await;
    assert!(tunnel.starts_with("HTTP/1.1 405 "), "{tunnel}");
    let old = host.raw("GET / HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200 "), "{old}");
}

#[tokio::test]
async fn a_body_that_is_declared_too_large_is_refused_before_it_is_sent() {
    let mut spec = spec("hello");
    spec.limits.request_body = 1000;
    let host = Host::start([spec]).await;
    let request =
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\nexpect: 100-continue\r\n\r\n";
    let answer = within(host.raw(request)).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let within_limit = host.request("POST", "/echo").body(vec![b'x'; 1000]).send().await.unwrap();
    assert_eq!(within_limit.text().await.unwrap().len(), 1000);
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_refused() {
    let mut spec = spec("misbehave");
    spec.limits.request_body = 1000;
    let host = Host::start([spec]).await;
    let chunk = format!("{:x}\r\n{}\r\n", 600, "x".repeat(600));
    let request = format!(
        "POST /count-body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    let answer = within(host.raw(&request)).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_body_that_the_guest_does_not_read_does_no_harm() {
    let host = Host::start([spec("misbehave")]).await;
    let response = host.request("POST", "/ignore-body").body(vec![b'x'; 100_000]).send().await;
    assert_eq!(response.unwrap().text().await.unwrap(), "ok\n");
    assert_eq!(host.get("/").await.0, 200);
}

#[tokio::test]
async fn a_request_keeps_the_id_it_came_with_or_gets_one() {
    let host = Host::start([spec("misbehave")]).await;
    let id = async |given: Option<&str>| {
        let mut request = host.request("GET", "/trap");
        if let Some(given) = given {
            request = request.header("x-request-id", given);
        }
        let response = request.send().await.unwrap();
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id(Some("abc-1")).await, "abc-1");
    let (first, second) = (id(None).await, id(Some("not one")).await);
    assert!(first.len() == 16 && second.len() == 16 && first != second, "{first} {second}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_guest() {
    let mut spec = spec("misbehave");
    spec.limits.deadline = Some(Duration::from_secs(3600));
    let host = Host::start([spec]).await;
    for path in ["/hang", "/stream?bytes=1000000000"] {
        let mut stream = TcpStream::connect(host.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        if path.starts_with("/stream") {
            let mut seen = String::new();
            within(read_until(&mut stream, &mut seen, "0123456789")).await;
        }
        drop(stream);
        within(host.idle()).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_within_a_response_ends_a_guest_that_waits() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("/?url=http://{}/", silent.local_addr().unwrap());
    let mut spec = spec("outbound");
    spec.limits.deadline = Some(Duration::from_secs(3600));
    spec.network.http = vec!["127.0.0.1".parse().unwrap()];
    let host = Host::start([spec]).await;
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    let request = format!("GET {url} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    // It begins an answer, and then says no more.
    let (mut upstream, _) = within(silent.accept()).await.unwrap();
    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun").await.unwrap();
    within(read_until(&mut stream, &mut String::new(), "begun")).await;
    drop(stream);
    within(host.idle()).await;
}
