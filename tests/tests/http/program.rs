//! The program under load and in want, and how it ends.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use backplane_tests::{Lab, Running, component};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::support::within;

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// A host with a guest at every path, on a free port.
async fn serve(guest: &str, more: &str) -> (Lab, Running) {
    let lab = lab(guest, more);
    let host = lab.start(["host"]).await;
    (lab, host)
}

fn lab(guest: &str, more: &str) -> Lab {
    let file = component(guest);
    Lab::new().with_config(&format!(
        "http.listen = \"127.0.0.1:0\"\n[workloads.a]\ncomponent = {file:?}\nhttp = {{}}\n{more}"
    ))
}

/// Reads one response with a chunked body. None where the connection ends before its end.
async fn response(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    while !text.ends_with("0\r\n\r\n") {
        let mut buffer = [0; 4096];
        let count = within(stream.read(&mut buffer)).await.ok().filter(|count| *count > 0)?;
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    Some(text)
}

/// Sends one request after the other, on a connection for as long as the server keeps it, until there
/// is no server any more. Says how many were answered; a request that is not is a failure.
async fn load(address: String, answered: Arc<AtomicU32>) -> Result<(), String> {
    while let Ok(mut stream) = TcpStream::connect(&address).await {
        loop {
            stream.write_all(GET.as_bytes()).await.map_err(|error| format!("sending: {error}"))?;
            let Some(response) = response(&mut stream).await else {
                return Err("the connection ended before the response did".to_owned());
            };
            assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
            answered.fetch_add(1, Ordering::Relaxed);
            if response.contains("connection: close") {
                break;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn sigterm_under_load_loses_no_request() {
    let (_lab, mut host) = serve("hello", "").await;
    let answered = Arc::new(AtomicU32::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        clients.spawn(load(host.address().to_owned(), Arc::clone(&answered)));
    }
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(10));
    while answered.load(Ordering::Relaxed) < 500 {
        assert!(clients.try_join_next().is_none(), "a client ended early");
        ticks.tick().await;
    }
    host.terminate();
    host.logs("stopping").await;
    let lost: Vec<_> =
        within(clients.join_all()).await.into_iter().filter_map(Result::err).collect();
    println!("{} requests were answered, {} lost", answered.load(Ordering::Relaxed), lost.len());
    assert!(lost.is_empty(), "{lost:?}");
    let (code, log) = host.ended().await;
    assert_eq!(code, Some(0));
    // Each that was answered is in the log of the host as well.
    let logged = log.lines().filter(|line| line.contains("access: done")).count();
    assert_eq!(logged, answered.load(Ordering::Relaxed) as usize);
}

#[tokio::test]
async fn a_second_signal_ends_the_host_at_once() {
    let more = "limits.deadline = \"none\"\n";
    let (_lab, mut host) = serve("misbehave", more).await;
    let mut hanging = TcpStream::connect(host.address()).await.unwrap();
    hanging.write_all(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(host.get("/").await.0, 200);
    host.terminate();
    host.logs("stopping").await;
    host.terminate();
    let (code, log) = host.ended().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("error: stopped at once by a second signal, SIGTERM"), "{log}");
}

#[tokio::test]
async fn a_host_without_a_file_left_says_so_once_and_recovers() {
    let lab = lab("hello", "");
    let mut host = lab.start_with_files(128, ["host"]).await;
    let mut first = TcpStream::connect(host.address()).await.unwrap();
    first.write_all(GET.as_bytes()).await.unwrap();
    assert!(response(&mut first).await.is_some());
    let mut others = Vec::new();
    for _ in 0..200 {
        others.push(TcpStream::connect(host.address()).await.unwrap());
    }
    host.logs("failed to accept a connection").await;
    // Who is in is served.
    first.write_all(GET.as_bytes()).await.unwrap();
    assert!(response(&mut first).await.is_some());
    drop(others);
    assert_eq!(host.get("/").await.0, 200);
    host.logs("connections are accepted again").await;
    let log = host.log();
    for part in ["Too many open files", "`ulimit -n`", "this process may have 128 files open"] {
        assert!(log.contains(part), "no `{part}` in {log}");
    }
    assert_eq!(log.matches("failed to accept a connection").count(), 1, "{log}");
    drop(first);
    host.stop().await;
}

/// Lets this process have as many files open as it may; says how many.
fn raise_limit() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    maximum.unwrap_or(u64::MAX)
}

#[tokio::test]
async fn ten_thousand_idle_connections_leave_room_for_others() {
    let (_lab, host) = serve("hello", "").await;
    let count = raise_limit().saturating_sub(1000).min(10_000);
    let mut idle = Vec::new();
    for n in 0..count {
        let mut stream = within(TcpStream::connect(host.address())).await.unwrap();
        // Half of them have been used before.
        if n % 2 == 0 {
            stream.write_all(GET.as_bytes()).await.unwrap();
            assert!(response(&mut stream).await.is_some());
        }
        idle.push(stream);
    }
    let begun = std::time::Instant::now();
    let mut stream = TcpStream::connect(host.address()).await.unwrap();
    for _ in 0..100 {
        stream.write_all(GET.as_bytes()).await.unwrap();
        assert!(response(&mut stream).await.is_some());
    }
    let took = begun.elapsed() / 100;
    let status = fs::read_to_string(format!("/proc/{}/status", host.id())).unwrap();
    let memory = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    println!("{count} idle connections: {took:?} a request beside them, {memory}");
    // They are there to the last.
    for stream in idle.iter_mut().step_by(999) {
        stream.write_all(GET.as_bytes()).await.unwrap();
        assert!(response(stream).await.is_some());
    }
    drop((idle, stream));
    host.stop().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_ends_the_start_with_the_file_and_a_remedy() {
    let lab = lab(
        "hello",
        "[http.tls]\nlisten = \"127.0.0.1:0\"\ncertificates = [{ certificate = \"a.crt\", key = \"a.key\" }]\n",
    );
    let ran = lab.run(["host"]).await;
    ran.is_refused(&["TLS cannot be served", "backplane.toml", "a.crt", "http.tls.certificates"]);
}
