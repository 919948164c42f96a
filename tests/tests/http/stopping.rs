//! How a server ends: what runs may finish, and what does not is cut.

use std::time::Duration;

use backplane::http::{
    Server,
    signal::{Signal, Signals},
};
use nix::sys::signal::{Signal as Unix, raise};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    observed::Log,
    support::{Host, engines, spec, within},
};

#[tokio::test]
async fn what_runs_is_finished_and_nothing_new_is_accepted() {
    let mut host = Host::start([spec("misbehave")]).await;
    let address = host.address;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /timer?ms=500 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // A second answer on the way says that the first request has been read.
    assert_eq!(host.get("/").await.0, 200);
    host.ask_to_stop();
    assert_eq!(within(idle.read(&mut [0; 1])).await.unwrap(), 0, "an idle connection stays open");
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.contains("waited 500 ms"), "{answer}");
    assert_eq!(within(host.served()).await.cut, 0);
    assert!(TcpStream::connect(address).await.is_err(), "the server still accepts");
}

#[tokio::test]
async fn a_client_that_was_not_told_that_a_response_is_its_last_may_ask_again() {
    let mut host = Host::start([spec("misbehave")]).await;
    let address = host.address;
    let mut stream = TcpStream::connect(address).await.unwrap();
    // More than fits into what the system keeps between the two.
    stream.write_all(b"GET /stream?bytes=30000000 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = vec![0; 1000];
    within(stream.read_exact(&mut first)).await.unwrap();
    assert!(!String::from_utf8_lossy(&first).contains("connection: close"));
    host.ask_to_stop();
    within(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    let mut space = vec![0; 1 << 20];
    while !first.ends_with(b"\r\n0\r\n\r\n") {
        let count = within(stream.read(&mut space)).await.unwrap();
        assert!(count > 0, "the connection ended after {} bytes", first.len());
        first.extend_from_slice(&space[..count]);
    }
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut second = String::new();
    within(stream.read_to_string(&mut second)).await.unwrap();
    assert!(second.starts_with("HTTP/1.1 200 "), "{second}");
    assert!(second.contains("connection: close"), "{second}");
    assert_eq!(within(host.served()).await.cut, 0);
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut() {
    let (log, _guard) = Log::capture();
    let mut hanging = spec("misbehave");
    hanging.limits.deadline = None;
    let mut host = Host::start_with(&engines(), [hanging], Duration::from_millis(200)).await;
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream.write_all(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(host.get("/").await.0, 200);
    host.ask_to_stop();
    assert_eq!(within(host.served()).await.cut, 1);
    // The client did nothing wrong.
    log.line(&["access", "stopped", "/hang"]);
}

#[tokio::test]
async fn a_port_in_use_is_named_with_a_way_out() {
    let first = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = Server::bind(first.address()).await.unwrap_err().to_string();
    assert!(error.contains(&first.address().to_string()), "{error}");
    assert!(error.contains("--listen"), "{error}");
}

#[tokio::test]
async fn sigterm_and_sigint_ask_to_stop() {
    for (sent, expected) in [(Unix::SIGTERM, Signal::Terminate), (Unix::SIGINT, Signal::Interrupt)]
    {
        let mut signals = Signals::catch().unwrap();
        raise(sent).unwrap();
        assert_eq!(within(signals.next()).await, expected);
    }
}
