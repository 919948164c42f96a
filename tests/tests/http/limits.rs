//! Guests that do what they must not: each is ended at its limit, and the host goes on.

use std::time::Duration;

use backplane::workload::spec::{Limits, Spec};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    observed::Log,
    support::{Host, engines_for, spec, within},
};

fn limited() -> Spec {
    let mut spec = spec("misbehave");
    spec.limits.cpu = Some(Duration::from_millis(200));
    spec.limits.deadline = Some(Duration::from_secs(5));
    spec.limits.memory = 32 << 20;
    spec
}

async fn ends_with(path: &str, spec: Spec, status: u16) {
    let host = Host::start([spec]).await;
    let answer = within(host.get(path)).await;
    assert_eq!(answer.0, status, "{path}: {}", answer.1);
    assert!(answer.1.starts_with(&status.to_string()), "{path}: {}", answer.1);
    assert_eq!(host.get("/").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn a_guest_that_computes_for_ever_ends_at_its_cpu_time() {
    ends_with("/loop", limited(), 503).await;
}

#[tokio::test]
async fn a_guest_that_computes_for_ever_and_may_ends_at_its_deadline() {
    let mut spec = limited();
    spec.limits.cpu = None;
    spec.limits.deadline = Some(Duration::from_millis(300));
    ends_with("/loop", spec, 504).await;
}

#[tokio::test]
async fn a_guest_that_waits_for_ever_ends_at_its_deadline() {
    let mut spec = limited();
    spec.limits.deadline = Some(Duration::from_millis(300));
    ends_with("/hang", spec, 504).await;
}

#[tokio::test]
async fn waiting_is_not_cpu_time() {
    let mut spec = limited();
    spec.limits.cpu = Some(Duration::from_millis(100));
    let host = Host::start([spec]).await;
    assert_eq!(within(host.get("/timer?ms=400")).await.0, 200);
}

#[tokio::test]
async fn a_guest_that_takes_memory_without_end_ends_at_its_limit() {
    ends_with("/grow", limited(), 500).await;
}

#[tokio::test]
async fn a_guest_that_needs_more_memory_than_it_may_have_does_not_start() {
    let mut spec = limited();
    spec.limits.memory = 1 << 16;
    let host = Host::start([spec]).await;
    assert_eq!(host.get("/").await.0, 500);
}

/// Two core instances with two tables and two memories each; it answers nothing, and lets a table grow
/// until it cannot, and traps.
pub(crate) const PARTS: &str = r#"(component
    (import "wasi:http/types@0.2.0" (instance $types
        (export "incoming-request" (type (sub resource)))
        (export "response-outparam" (type (sub resource)))))
    (alias export $types "incoming-request" (type $request))
    (alias export $types "response-outparam" (type $out))
    (core module $m
        (table 1 funcref) (table $grows 1 funcref) (memory 1) (memory 1)
        (func (export "handle") (param i32 i32)
            (loop $again
                (table.grow $grows (ref.null func) (i32.const 1000))
                (br_if $again (i32.ne (i32.const -1))))
            unreachable))
    (core instance $i (instantiate $m))
    (core instance (instantiate $m))
    (func $handle (param "request" (own $request)) (param "response-out" (own $out))
        (canon lift (core func $i "handle")))
    (instance $handler (export "handle" (func $handle)))
    (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#;

/// With that limit a request is answered 500, and the log and the counters name the limit.
async fn is_named(text: &str, path: &str, limit: &str, set: impl FnOnce(&mut Limits)) {
    let (log, _guard) = Log::capture();
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let counted = recorder.handle();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let folder = tempfile::tempdir().unwrap();
    let mut limited = spec("misbehave");
    if !text.is_empty() {
        limited.component = folder.path().join("parts.wasm");
        std::fs::write(&limited.component, wat::parse_str(text).unwrap()).unwrap();
    }
    set(&mut limited.limits);
    let host = Host::start([limited]).await;
    let (status, text) = within(host.get(path)).await;
    assert_eq!((status, text.as_str()), (500, "500 Internal Server Error\n"), "{limit}");
    let (_, ended) = limit.split_once('.').unwrap();
    log.line(&["ERROR", &format!("(`{limit}`)")]);
    // Behind the backtrace, if there is one.
    let (ended_at, key) = (format!("ended=\"{ended}\""), format!("limit=\"{limit}\""));
    log.line(&["workload=misbehave", &ended_at, &key]);
    for line in [
        format!("backplane_requests_total{{workload=\"misbehave\",ended=\"{ended}\"}} 1"),
        format!("backplane_limits_hit_total{{workload=\"misbehave\",limit=\"{limit}\"}} 1"),
    ] {
        assert!(counted.render().contains(&line), "no {line} in\n{}", counted.render());
    }
}

#[tokio::test]
async fn a_guest_whose_tables_grow_without_end_ends_at_their_limit() {
    is_named(PARTS, "/", "limits.table-elements", |_| {}).await;
    is_named(PARTS, "/", "limits.table-elements", |limits| limits.table_elements = 5000).await;
    // Too few to start with.
    is_named(PARTS, "/", "limits.table-elements", |limits| limits.table_elements = 3).await;
}

#[tokio::test]
async fn a_guest_of_more_parts_than_it_may_have_does_not_start() {
    is_named(PARTS, "/", "limits.instances", |limits| limits.instances = 1).await;
    is_named(PARTS, "/", "limits.tables", |limits| limits.tables = 3).await;
    is_named(PARTS, "/", "limits.memories", |limits| limits.memories = 3).await;
}

#[tokio::test]
async fn a_guest_that_hands_too_much_to_the_host_ends_at_the_limit_of_a_call() {
    let path = format!("/log?text={}", "x".repeat(2000));
    is_named("", &path, "limits.hostcall", |limits| limits.hostcall = 1000).await;
}

#[tokio::test]
async fn a_guest_that_recurses_for_ever_traps() {
    ends_with("/recurse", limited(), 500).await;
}

#[tokio::test]
async fn a_guest_that_traps_is_an_internal_error() {
    ends_with("/trap", limited(), 500).await;
}

#[tokio::test]
async fn a_guest_without_an_answer_is_an_internal_error() {
    ends_with("/silent", limited(), 500).await;
}

#[tokio::test]
async fn other_requests_are_answered_while_a_guest_computes() {
    let mut spec = limited();
    spec.limits.cpu = Some(Duration::from_secs(60));
    spec.limits.deadline = Some(Duration::from_secs(60));
    // One thread serves both.
    let host = Host::start([spec]).await;
    let mut busy = TcpStream::connect(host.address).await.unwrap();
    busy.write_all(b"GET /loop HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    for _ in 0..5 {
        assert_eq!(within(host.get("/")).await.0, 200);
    }
}

/// The client must not take what it got for the whole.
async fn is_cut_off(path: &str, spec: Spec) {
    let host = Host::start([spec]).await;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = within(host.raw(&request)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "{path}: the body was ended as if complete: {answer}");
    within(host.idle()).await;
}

#[tokio::test]
async fn a_guest_that_traps_behind_its_response_cuts_it_off() {
    is_cut_off("/trap-late?bytes=200000", limited()).await;
}

#[tokio::test]
async fn a_guest_that_ends_at_a_limit_behind_its_response_cuts_it_off() {
    let mut spec = limited();
    spec.limits.cpu = Some(Duration::from_millis(50));
    is_cut_off("/stream?bytes=1000000000000", spec).await;
    let mut spec = limited();
    spec.limits.cpu = None;
    spec.limits.deadline = Some(Duration::from_millis(50));
    is_cut_off("/stream?bytes=1000000000000", spec).await;
}

#[tokio::test]
async fn a_guest_that_does_not_finish_its_body_cuts_it_off() {
    is_cut_off("/cut?bytes=200000", limited()).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_hold_its_guest_beyond_the_deadline() {
    let mut spec = limited();
    spec.limits.deadline = Some(Duration::from_millis(500));
    let host = Host::start([spec]).await;
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream.write_all(b"GET /stream?bytes=1000000000 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // The head is there, so that the guest runs behind it.
    assert!(stream.read(&mut [0; 100]).await.unwrap() > 0);
    within(host.idle()).await;
}

#[tokio::test]
async fn more_requests_than_may_run_are_asked_to_come_again() {
    let mut spec = limited();
    spec.limits.concurrency = 1;
    let host = Host::start([spec]).await;
    let mut busy = TcpStream::connect(host.address).await.unwrap();
    // Its answer's head says that it runs.
    busy.write_all(b"GET /stream?bytes=1000000000 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(busy.read(&mut [0; 100]).await.unwrap() > 0);
    let response = within(host.request("GET", "/").send()).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    drop(busy);
    within(host.idle()).await;
    assert_eq!(host.get("/").await.0, 200);
}

#[tokio::test]
async fn a_host_without_an_instance_left_asks_to_come_again() {
    let engines = engines_for(1);
    let host = Host::start_with(&engines, [limited()], Duration::from_secs(10)).await;
    let mut busy = TcpStream::connect(host.address).await.unwrap();
    busy.write_all(b"GET /stream?bytes=1000000000 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(busy.read(&mut [0; 100]).await.unwrap() > 0);
    let response = within(host.request("GET", "/").send()).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
}
