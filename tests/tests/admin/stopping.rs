//! What the admin address says while the host starts and while it ends.

use crate::support::{Admin, lab};

#[tokio::test]
async fn a_host_that_starts_is_live_and_not_ready() {
    let more = "[[workloads.shop.links]]\ntarget = \"probe:types\"\nprovider = \"probe\"\nconfig = { bind_milliseconds = 5000 }\n";
    let lab = lab("", more);
    let mut host = lab.launch(["host"]);
    let admin = Admin::of(&mut host).await;
    assert_eq!(
        admin.get("/readyz").await,
        (503, "not ready\nstarting: the extensions and workloads are not ready yet\n".to_owned())
    );
    assert_eq!(admin.get("/livez").await.0, 200);
    host.listens().await;
    admin.until("/readyz", 200, "ready").await;
    host.stop().await;
}

#[tokio::test]
async fn a_host_that_drains_is_not_ready_and_live_until_its_last_request_has_ended() {
    let lab = lab("", "");
    let mut host = lab.start(["host"]).await;
    let admin = Admin::of(&mut host).await;
    admin.until("/readyz", 200, "ready").await;
    let slow = async { host.get("/sleep?ms=5000").await };
    let stop = async {
        admin.until("/metrics", 200, "backplane_requests_running{workload=\"shop\"} 1").await;
        host.terminate();
        let told = admin.until("/readyz", 503, "draining").await;
        assert_eq!(told, "not ready\ndraining: the host was asked to stop\n");
        assert_eq!(admin.get("/livez").await.0, 200);
        let metrics = admin.get("/metrics").await.1;
        assert!(metrics.contains("\nbackplane_ready 0\n"), "{metrics}");
    };
    let (answer, ()) = tokio::join!(slow, stop);
    assert_eq!(answer, (200, "5000\n".to_owned()));
    let (code, log) = host.ended().await;
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test]
async fn requests_are_taken_for_the_delay_while_the_host_is_not_ready() {
    let lab = lab("shutdown.delay = \"5s\"", "");
    let mut host = lab.start(["host"]).await;
    let admin = Admin::of(&mut host).await;
    host.terminate();
    admin.until("/readyz", 503, "draining").await;
    assert_eq!(host.get("/").await.0, 200);
    host.logs("not ready any more").await;
    let (code, log) = host.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopping: finishing what runs"), "{log}");
}

#[tokio::test]
async fn a_second_signal_in_the_delay_ends_the_host_at_once() {
    let lab = lab("shutdown.delay = \"1h\"", "");
    let mut host = lab.start(["host"]).await;
    host.terminate();
    host.logs("not ready any more").await;
    host.terminate();
    let (code, log) = host.ended().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("error: stopped at once by a second signal, SIGTERM"), "{log}");
}
