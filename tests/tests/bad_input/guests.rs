//! Guests that misbehave: each request ends alone, and the host goes on.

use backplane_tests::{Lab, Running, component, within};

/// A host that serves one guest with tight limits.
async fn host(lab: &Lab, guest: &str, config: &str) -> Running {
    lab.write(
        "backplane.toml",
        format!(
            "{config}\n[http]\nlisten = \"127.0.0.1:0\"\n\
             [limits]\nmemory = \"32MiB\"\ncpu = \"300ms\"\ndeadline = \"20s\"\n\
             [workloads.guest]\ncomponent = {:?}\nhttp = {{}}\n",
            component(guest)
        ),
    );
    lab.start(["host"]).await
}

/// The path is answered with that status, the log names the limit or cause, and the host goes on.
async fn ends(path: &str, status: u16, logged: &[&str]) {
    let lab = Lab::new();
    let mut running = host(&lab, "misbehave", "").await;
    assert_eq!(running.get(path).await.0, status);
    for text in logged {
        running.logs(text).await;
    }
    assert_eq!(running.get("/").await, (200, "ok\n".to_owned()));
    running.stop().await;
}

#[tokio::test]
async fn a_guest_that_loops_for_ever_ends_at_its_cpu_limit() {
    ends("/loop", 503, &["workload=guest", "300ms of CPU time (`limits.cpu`)"]).await;
}

#[tokio::test]
async fn a_guest_that_grows_without_end_ends_at_its_memory_limit() {
    let limit = format!("its {} bytes (`limits.memory`)", 32 << 20);
    ends("/grow", 500, &["workload=guest", &limit]).await;
}

#[tokio::test]
async fn a_guest_that_traps_ends_alone() {
    ends("/trap", 500, &["workload=guest", "the guest trapped", "unreachable"]).await;
}

/// Waits until the extension, which counts over all instances, has dropped every thing.
async fn none_lives(running: &Running) {
    while running.get("/live").await != (200, "0\n".to_owned()) {}
}

#[tokio::test]
async fn the_handles_of_a_guest_that_ends_badly_are_released() {
    let lab = Lab::new();
    lab.write("plugins/probe.so", backplane_tests::library("probe"));
    let mut running = host(&lab, "hold-things", "enable = [\"probe\"]").await;
    for (path, status) in [
        ("/trap?things=5", 500),
        ("/loop?things=5", 503),
        ("/grow?things=5", 500),
        ("/leak?things=5", 200),
    ] {
        assert_eq!(running.get(path).await.0, status, "{path}");
        within(path, none_lives(&running)).await;
    }
    // The count is a real one.
    assert_eq!(running.get("/hold?things=5").await, (200, "5\n".to_owned()));
    running.logs("the guest trapped").await;
    running.stop().await;
}
