//! Who runs, who waits and who is refused, when there are more requests than may run.

use std::time::Duration;

use backplane::workload::spec::{Route, Spec};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use crate::{
    limits::PARTS,
    observed::{Log, counted},
    support::{Host, Options, engines_for, spec, within},
};

/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(600);

/// A workload of the guest `misbehave` that answers below `/NAME`.
fn at(name: &str) -> Spec {
    let mut spec = spec("misbehave");
    spec.name = name.parse().unwrap();
    spec.http = Some(Route { path: format!("/{name}"), strip: true, ..Route::default() });
    spec.limits.deadline = Some(LONG);
    spec.limits.queue_wait = LONG;
    spec
}

/// The metrics of this thread, which runs the whole of its test.
fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new().build_recorder()
}

fn queued(workload: &str, number: usize) -> String {
    format!("backplane_requests_queued{{workload=\"{workload}\"}} {number}")
}

fn ended(workload: &str, how: &str, number: usize) -> String {
    format!("backplane_requests_total{{workload=\"{workload}\",ended=\"{how}\"}} {number}")
}

async fn asks(host: &Host, path: &str) -> TcpStream {
    host.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
}

/// A request that is refused: it may come again, and learns nothing else.
async fn is_refused(host: &Host, path: &str) {
    let response = within(host.request("GET", path).send()).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.text().await.unwrap(), "503 Service Unavailable\n");
}

async fn answered(mut stream: TcpStream) {
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_workload_that_is_flooded_leaves_the_others_their_part_of_the_host() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let options = Options { drain: LONG, ..Options::default() };
    let host = Host::start_as(&engines_for(20), [at("flooded"), at("calm")], options).await;
    let mut flood = Vec::new();
    for _ in 0..40 {
        flood.push(asks(&host, "/flooded/hang").await);
    }
    // It has its own five instances and the ten that both share.
    within(counted(&recorder.handle(), &queued("flooded", 25))).await;
    for _ in 0..10 {
        assert_eq!(within(host.get("/calm/")).await.0, 200);
    }
    let mut calm = Vec::new();
    for _ in 0..6 {
        calm.push(asks(&host, "/calm/timer?ms=100").await);
    }
    // One more than its part waits until one of its own has ended.
    within(counted(&recorder.handle(), &queued("calm", 1))).await;
    for stream in calm {
        answered(stream).await;
    }
    // All of the flood that goes makes room for the rest of it.
    flood.truncate(15);
    within(counted(&recorder.handle(), &queued("flooded", 0))).await;
    drop(flood);
    within(host.idle()).await;
    assert!(recorder.handle().render().contains(&ended("calm", "well", 16)));
}

#[tokio::test]
async fn beyond_the_queue_a_request_is_refused_at_once() {
    let (log, _logged) = Log::capture();
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut spec = at("shop");
    spec.limits.concurrency = 1;
    spec.limits.queue = 1;
    let host = Host::start([spec]).await;
    let running = asks(&host, "/shop/hang").await;
    within(counted(&recorder.handle(), "backplane_requests_running{workload=\"shop\"} 1")).await;
    let waiting = asks(&host, "/shop/").await;
    within(counted(&recorder.handle(), &queued("shop", 1))).await;
    is_refused(&host, "/shop/").await;
    log.line(&["WARN", "workload=shop", "ended=\"queue-full\"", "limit=\"limits.queue\""]);
    assert!(recorder.handle().render().contains(&ended("shop", "queue-full", 1)));
    // What waits is answered when its turn comes.
    drop(running);
    answered(waiting).await;
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_makes_room_in_it() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut spec = at("shop");
    spec.limits.concurrency = 1;
    spec.limits.queue = 1;
    let host = Host::start([spec]).await;
    let running = asks(&host, "/shop/hang").await;
    within(counted(&recorder.handle(), "backplane_requests_running{workload=\"shop\"} 1")).await;
    for _ in 0..3 {
        let leaving = asks(&host, "/shop/").await;
        within(counted(&recorder.handle(), &queued("shop", 1))).await;
        drop(leaving);
        within(counted(&recorder.handle(), &queued("shop", 0))).await;
    }
    let waiting = asks(&host, "/shop/").await;
    within(counted(&recorder.handle(), &queued("shop", 1))).await;
    drop(running);
    answered(waiting).await;
    within(host.idle()).await;
}

#[tokio::test]
async fn a_request_that_has_waited_for_long_enough_is_refused() {
    let (log, _logged) = Log::capture();
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut spec = at("shop");
    spec.limits.concurrency = 1;
    spec.limits.queue_wait = Duration::from_millis(30);
    let host = Host::start([spec]).await;
    let _running = asks(&host, "/shop/hang").await;
    within(counted(&recorder.handle(), "backplane_requests_running{workload=\"shop\"} 1")).await;
    is_refused(&host, "/shop/").await;
    log.line(&["WARN", "workload=shop", "ended=\"queue-wait\"", "30ms", "(`limits.concurrency`)"]);
    let text = recorder.handle().render();
    assert!(text.contains(&ended("shop", "queue-wait", 1)), "{text}");
    assert!(text.contains(&queued("shop", 0)), "{text}");
}

#[tokio::test]
async fn without_an_instance_left_requests_wait_for_one_of_the_host() {
    let (log, _logged) = Log::capture();
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut patient = at("patient");
    let mut brief = at("brief");
    for spec in [&mut patient, &mut brief] {
        spec.limits.queue = 10;
    }
    brief.limits.queue_wait = Duration::from_millis(30);
    let host = Host::start_as(&engines_for(2), [patient, brief], Options::default()).await;
    // Each is sure of one, and there are no others.
    let one = asks(&host, "/patient/hang").await;
    let _other = asks(&host, "/brief/hang").await;
    for name in ["patient", "brief"] {
        let running = format!("backplane_requests_running{{workload=\"{name}\"}} 1");
        within(counted(&recorder.handle(), &running)).await;
    }
    let waiting = asks(&host, "/patient/").await;
    within(counted(&recorder.handle(), &queued("patient", 1))).await;
    is_refused(&host, "/brief/").await;
    log.line(&["WARN", "workload=brief", "ended=\"host-full\"", "limit=\"engine.instances\""]);
    drop(one);
    answered(waiting).await;
}

#[tokio::test]
async fn an_instance_with_many_memories_takes_the_place_of_several() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let folder = tempfile::tempdir().unwrap();
    let mut large = at("large");
    large.component = folder.path().join("parts.wasm");
    std::fs::write(&large.component, wat::parse_str(PARTS).unwrap()).unwrap();
    large.limits.queue_wait = Duration::ZERO;
    // Its four memories are those of two instances, of which one alone is left.
    let host = Host::start_as(&engines_for(3), [large, at("shop")], Options::default()).await;
    let busy = [asks(&host, "/shop/hang").await, asks(&host, "/shop/hang").await];
    within(counted(&recorder.handle(), "backplane_requests_running{workload=\"shop\"} 1")).await;
    within(counted(&recorder.handle(), &queued("shop", 1))).await;
    // It runs, and traps as it always does.
    assert_eq!(within(host.get("/large/")).await.0, 500);
    assert!(recorder.handle().render().contains(&ended("large", "table-elements", 1)));
    drop(busy);
    within(host.idle()).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_counted_as_a_limit() {
    let (log, _logged) = Log::capture();
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut spec = at("shop");
    spec.limits.request_body = 10;
    let host = Host::start([spec]).await;
    let declared = host.request("POST", "/shop/count-body").body("x".repeat(11));
    assert_eq!(within(declared.send()).await.unwrap().status(), 413);
    let chunked = "POST /shop/count-body HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                   transfer-encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n";
    let answer = within(host.raw(chunked)).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    log.line(&["INFO", "workload=shop", "10 bytes", "(`limits.request-body`)"]);
    let line = "backplane_limits_hit_total{workload=\"shop\",limit=\"limits.request-body\"} 2";
    assert!(recorder.handle().render().contains(line), "{}", recorder.handle().render());
}
