//! How many calls run at once, how deep they nest, in which instances, and what a stop does to them.

use crate::{callee, lab, measures};

#[tokio::test]
async fn calls_take_turns_and_fail_where_too_many_wait() {
    // The request that asks for them has a turn too.
    let (_lab, host) = callee("limits = { concurrency = 3, queue = 4 }").await;
    let (status, text) = host.get("/many?calls=40&how=wait").await;
    let count = |part: &str| text.matches(part).count();
    assert_eq!(status, 200);
    assert_eq!(count("Ok(\"waited\")") + count("Unavailable"), 40, "{text}");
    assert!(count("Ok(\"waited\")") == 6, "two may run and four wait: {text}");
    assert!(
        text.contains("4 requests of the workload are waiting already (`limits.queue`)"),
        "{text}"
    );
    host.stop().await;
}

#[tokio::test]
async fn a_call_back_into_the_workload_that_calls_takes_another_instance_and_has_a_depth() {
    let (_lab, host) = callee("").await;
    assert_eq!(host.get("/nest?times=0").await, (200, "0\n".to_owned()));
    assert_eq!(host.get("/nest?times=5").await, (200, "5\n".to_owned()));
    let (status, text) = host.get("/nest?times=40").await;
    assert_eq!(status, 502);
    assert!(
        text.contains("Denied") && text.contains("17 calls led from workload to workload"),
        "{text}"
    );
    host.stop().await;
}

#[tokio::test]
async fn instances_that_are_used_again_take_calls_as_well_as_requests() {
    let (_lab, host) = callee("instances = { requests = 100 }").await;
    // The request has one instance and its call another, one of which has what a call before has left.
    let mut kept = Vec::new();
    while !kept.contains(&"3\n".to_owned()) {
        let (status, text) = host.get("/misbehave?how=keep").await;
        assert_eq!(status, 200, "{text}");
        kept.push(text);
        assert!(kept.len() < 50, "{kept:?}");
    }
    // One that traps takes only its own call with it.
    assert_eq!(host.get("/misbehave?how=trap").await.0, 502);
    assert_eq!(host.get("/misbehave?how=answer").await.0, 200);
    host.stop().await;
    let (_lab, host) = callee("").await;
    for _ in 0..2 {
        assert_eq!(host.get("/misbehave?how=keep").await, (200, "1\n".to_owned()));
    }
    host.stop().await;
}

/// A link by which the extension calls as soon as the workload is ready.
fn calls(milliseconds: u32) -> String {
    format!(
        "links = [{{ target = \"probe:types/concurrent-callbacks@1.0.0\", provider = \"probe\", \
         config = {{ call = {{ calls = 3, milliseconds = {milliseconds} }} }} }}]\n"
    )
}

const RUNNING: &str = "backplane_requests_running{workload=\"shop\"} 3";

#[tokio::test]
async fn a_stop_lets_calls_end() {
    let lab = lab("callee-p3", "", &calls(1000));
    let mut host = lab.start(["host"]).await;
    measures(&mut host, RUNNING).await;
    host.terminate();
    let (code, log) = host.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("the workload answered Ok"), "{log}");
    // What the extension asks for then is refused, and it ends after all of its bindings.
    assert!(log.contains("the workload answered first: Err(\"Unavailable"), "{log}");
    assert!(!log.contains("a binding has not ended"), "{log}");
}

#[tokio::test]
async fn a_stop_cuts_calls_at_its_deadline() {
    let lab = lab("callee-p3", "shutdown.deadline = \"200ms\"", &calls(60_000));
    let mut host = lab.start(["host"]).await;
    measures(&mut host, RUNNING).await;
    host.terminate();
    let (code, log) = host.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("3 calls of its providers did not end within 200ms"), "{log}");
}
