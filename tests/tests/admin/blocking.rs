//! An extension that fails, or blocks the threads of the host: the admin address answers and names it.

use crate::support::{Admin, lab};

const CALL: &str =
    "`probe:types/faults@1.0.0#block` of provider `probe`, called by workload `shop`,";

#[tokio::test]
async fn a_host_whose_every_thread_is_blocked_says_by_which_extension_and_can_be_ended() {
    let lab = lab("admin.watchdog = \"300ms\"", "").with_variable("TOKIO_WORKER_THREADS", "1");
    let mut host = lab.start(["host"]).await;
    let admin = Admin::of(&mut host).await;
    admin.until("/readyz", 200, "ready").await;
    let url = format!("http://{}/block?ms=600000", host.address());
    let blocking = tokio::spawn(reqwest::get(url));
    let told = admin.until("/livez", 503, CALL).await;
    assert!(told.starts_with("stalled\nstalled: no thread of the host has taken work"), "{told}");
    assert!(told.contains("\nblocked: "), "{told}");
    admin.until("/readyz", 503, CALL).await;
    let series = "provider=\"probe\",interface=\"probe:types/faults@1.0.0\",function=\"block\"";
    let metrics = admin.get("/metrics").await.1;
    for line in [
        format!("backplane_calls_blocking_total{{{series}}} 1"),
        "backplane_threads_blocked 1".into(),
    ] {
        assert!(metrics.contains(&format!("\n{line}\n")), "no `{line}` in {metrics}");
    }
    host.logs(&format!("{CALL} has held a thread of the host")).await;
    host.logs("the host makes no progress").await;
    host.terminate();
    admin.until("/readyz", 503, "draining").await;
    host.terminate();
    let (code, log) = host.ended().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains(&format!("blocked by {CALL}")), "{log}");
    blocking.abort();
}

#[tokio::test]
async fn a_blocked_thread_among_others_degrades_the_host_until_it_is_given_back() {
    let lab = lab("admin.watchdog = \"1s\"", "").with_variable("TOKIO_WORKER_THREADS", "2");
    let mut host = lab.start(["host"]).await;
    let admin = Admin::of(&mut host).await;
    let url = format!("http://{}/block?ms=6000", host.address());
    let blocking = tokio::spawn(reqwest::get(url));
    let told = admin.until("/readyz", 200, CALL).await;
    assert!(told.starts_with("degraded\nblocked: "), "{told}");
    // The other thread goes on.
    assert_eq!(host.get("/").await.0, 200);
    assert!(!host.log().contains("given its thread back"), "others were held up: {}", host.log());
    assert_eq!(admin.get("/livez").await, (200, "ok\n".to_owned()));
    host.logs(&format!("{CALL} has given its thread back")).await;
    assert_eq!(blocking.await.unwrap().unwrap().status(), 200);
    admin.until("/readyz", 200, "ready").await;
    assert!(!host.log().contains("makes no progress"), "{}", host.log());
    host.stop().await;
}

#[tokio::test]
async fn a_call_that_waits_blocks_nothing() {
    let lab = lab("admin.watchdog = \"1s\"", "");
    let mut host = lab.start(["host"]).await;
    let admin = Admin::of(&mut host).await;
    assert_eq!(host.get("/sleep?ms=3000").await.0, 200);
    assert_eq!(admin.get("/livez").await.0, 200);
    assert!(!host.log().contains("has held a thread"), "{}", host.log());
    host.stop().await;
}

#[tokio::test]
async fn a_host_with_an_extension_that_panicked_is_degraded_and_ready() {
    let lab = lab("", "");
    let mut host = lab.start(["host"]).await;
    let admin = Admin::of(&mut host).await;
    assert_eq!(host.get("/panic").await.0, 502);
    let told = admin.until("/readyz", 200, "degraded").await;
    assert!(told.starts_with("degraded\nprovider: provider `probe` failed "), "{told}");
    assert!(told.ends_with(" ago in `probe:types/faults@1.0.0#panic`: panicked\n"), "{told}");
    let json = admin.request("GET", "/readyz").header("accept", "application/json").send().await;
    let json: serde_json::Value =
        serde_json::from_str(&json.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(
        (&json["status"], &json["reasons"][0]["reason"]),
        (&"degraded".into(), &"provider".into())
    );
    // Not stopped in the usual way, which takes any panic on standard error for one of the host's.
    drop(host);
}
