//! What an operator sees: the log and the counters.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use backplane::workload::spec::Spec;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Host, spec, within};

/// The log of this thread, which runs the whole of its test.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn capture() -> (Self, DefaultGuard) {
        keep_callsites_enabled();
        let log = Self::default();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The line that has all of these.
    pub(crate) fn line(&self, parts: &[&str]) -> String {
        let line = self.find(parts);
        line.unwrap_or_else(|| panic!("no line with {parts:?} in\n{}", self.text()))
    }

    fn find(&self, parts: &[&str]) -> Option<String> {
        let text = self.text();
        let line = text.lines().find(|line| parts.iter().all(|part| line.contains(part)));
        line.map(str::to_owned)
    }

    /// Waits for the line that has all of these.
    pub(crate) async fn until(&self, parts: &[&str]) -> String {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            if let Some(line) = self.find(parts) {
                return line;
            }
            ticks.tick().await;
        }
    }
}

/// A subscriber for the whole process, whose output goes nowhere. Whether a span or event is enabled is
/// kept for the process, not for a thread: without this, a thread that logs to nobody can switch off
/// what another has just begun to capture.
pub(crate) fn keep_callsites_enabled() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let nowhere = tracing_subscriber::fmt().with_writer(io::sink).finish();
        tracing::subscriber::set_global_default(nowhere).unwrap();
    });
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Waits until the metrics have that line.
pub(crate) async fn counted(metrics: &PrometheusHandle, line: &str) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while !metrics.render().lines().any(|is| is == line) {
        ticks.tick().await;
    }
}

fn limited() -> Spec {
    let mut spec = spec("misbehave");
    spec.name = "shop".parse().unwrap();
    spec.limits.cpu = Some(Duration::from_millis(100));
    spec.limits.memory = 32 << 20;
    spec
}

#[tokio::test]
async fn what_a_guest_writes_is_logged_by_the_line_with_its_workload() {
    let (log, _guard) = Log::capture();
    let host = Host::start([limited()]).await;
    let request = host.request("GET", "/log?text=one%0Atwo").header("x-request-id", "id-7");
    assert_eq!(request.send().await.unwrap().status(), 200);
    within(host.idle()).await;
    log.line(&["guest", "one", "workload=shop", "stream=\"stdout\"", "id-7"]);
    log.line(&["guest", "two", "workload=shop", "stream=\"stderr\"", "id-7"]);
}

#[tokio::test]
async fn a_trap_is_logged_with_workload_cause_and_backtrace() {
    let (log, _guard) = Log::capture();
    let host = Host::start([limited()]).await;
    assert_eq!(host.get("/trap").await.0, 500);
    log.line(&["ERROR", "workload=shop", "unreachable"]);
    log.line(&["wasm backtrace"]);
    log.line(&["incoming-handler"]);
}

#[tokio::test]
async fn the_limit_that_ended_a_guest_is_named() {
    let (log, _guard) = Log::capture();
    let host = Host::start([limited()]).await;
    assert_eq!(host.get("/loop").await.0, 503);
    log.line(&["ERROR", "workload=shop", "limit=\"limits.cpu\"", "100ms", "`limits.cpu`"]);
    assert_eq!(host.get("/grow").await.0, 500);
    log.line(&["ERROR", "workload=shop", "33554432", "`limits.memory`"]);
}

#[tokio::test]
async fn each_request_has_one_line_without_its_query() {
    let (log, _guard) = Log::capture();
    let host = Host::start([limited()]).await;
    assert_eq!(host.get("/stream?bytes=1000&secret=x").await.0, 200);
    within(host.idle()).await;
    let parts = [
        "access",
        "method=GET",
        "path=\"/stream\"",
        "version=HTTP/1.1",
        "tls=false",
        "status=200",
        "bytes=1000",
        "trace=",
    ];
    let line = log.line(&parts);
    assert!(!line.contains("secret"), "{line}");
    assert!(line.contains("done") && line.contains("workload=\"shop\""), "{line}");
}

#[tokio::test]
async fn an_empty_response_that_was_sent_is_done_and_ends_no_instance() {
    for guest in ["bench-http", "bench-http-p3"] {
        let recorder = PrometheusBuilder::new().build_recorder();
        let counted = recorder.handle();
        let _guard = metrics::set_default_local_recorder(&recorder);
        let (log, _guard) = Log::capture();
        let host = Host::start([spec(guest)]).await;
        for _ in 0..3 {
            let (status, body) = host.get("/bytes/0").await;
            assert_eq!((status, body.len()), (200, 0));
        }
        within(host.idle()).await;
        let text = log.text();
        let lines: Vec<_> = text.lines().filter(|line| line.contains("access: ")).collect();
        assert_eq!(lines.len(), 3, "{guest}: {text}");
        assert!(lines.iter().all(|line| line.contains("access: done")), "{guest}: {text}");
        let text = counted.render();
        let well = format!("backplane_requests_total{{workload=\"{guest}\",ended=\"well\"}} 3");
        assert!(text.contains(&well), "{guest}: {text}");
        let cancelled = text.lines().find(|line| line.contains("why=\"cancelled\""));
        assert!(cancelled.is_none_or(|line| line.ends_with(" 0")), "{guest}: {text}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_how_they_ended() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let counted = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let host = Host::start([limited()]).await;
    for path in ["/", "/", "/trap", "/loop", "/grow", "/silent"] {
        host.get(path).await;
    }
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream.write_all(b"GET /timer?ms=100000 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // Its answer says that the one before is being served.
    host.get("/").await;
    drop(stream);
    within(host.idle()).await;
    let text = counted.render();
    for (ended, count) in
        [("well", 3), ("trap", 1), ("cpu", 1), ("memory", 1), ("no-response", 1), ("cancelled", 1)]
    {
        let line =
            format!("backplane_requests_total{{workload=\"shop\",ended=\"{ended}\"}} {count}");
        assert!(text.contains(&line), "no {line} in\n{text}");
    }
    for limit in ["limits.cpu", "limits.memory"] {
        let line = format!("backplane_limits_hit_total{{workload=\"shop\",limit=\"{limit}\"}} 1");
        assert!(text.contains(&line), "no {line} in\n{text}");
    }
    // Whatever ended it, each guest's CPU time is counted: the one that looped has used all of its.
    assert!(text.contains("backplane_guest_cpu_seconds_count{workload=\"shop\"} 8"), "{text}");
    let sum = text.split("backplane_guest_cpu_seconds_sum{workload=\"shop\"} ").nth(1).unwrap();
    assert!(sum.lines().next().unwrap().parse::<f64>().unwrap() > 0.1, "{text}");
    // Nothing runs any more, and each request was timed.
    assert!(text.contains("backplane_requests_running{workload=\"shop\"} 0"), "{text}");
    assert!(
        text.contains("backplane_request_duration_seconds_count{workload=\"shop\"} 8"),
        "{text}"
    );
}
