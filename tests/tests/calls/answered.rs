//! What a call brings back: results, and failures of every kind.

use backplane_tests::Running;

use crate::{callee, lab, measures};

/// The path is answered with that status, and a text that has all these parts.
async fn answers(host: &Running, path: &str, status: u16, parts: &[&str]) {
    let (is, text) = host.get(path).await;
    assert_eq!(is, status, "{path}: {text}");
    for part in parts {
        assert!(text.contains(part), "{path}: no `{part}` in {text}");
    }
}

#[tokio::test]
async fn arguments_reach_the_guest_and_its_results_the_extension() {
    let (_lab, host) = callee("").await;
    let turned = ["text: \"desrever\"", "numbers: [3, 2, 1]", "Some(Err(18446744073709551615))"];
    answers(&host, "/turn?text=reversed", 200, &turned).await;
    answers(&host, "/wide", 200, &["1 18446744073709551615 cdefghi 0.5"]).await;
    host.stop().await;
}

#[tokio::test]
async fn a_resource_of_the_extension_s_goes_into_the_guest_and_another_comes_back() {
    let (_lab, host) = callee("").await;
    // What was given is gone with the instance that it was given to; what came back is the handler's own.
    for label in ["ab", "cd"] {
        let path = format!("/exchange?label={label}");
        answers(&host, &path, 200, &[&format!("\"{label}{label}\", 0")]).await;
    }
    host.stop().await;
}

#[tokio::test]
async fn an_error_of_the_function_s_own_is_a_result() {
    let (_lab, host) = callee("").await;
    answers(&host, "/misbehave?how=fail", 502, &["failed, as asked"]).await;
    let log = host.log();
    assert!(!log.contains("call of the workload failed"), "{log}");
    host.stop().await;
}

#[tokio::test]
async fn a_guest_that_traps_or_meets_a_limit_fails_this_call_alone() {
    let (_lab, mut host) = callee("limits = { cpu = \"200ms\", memory = \"32MiB\" }").await;
    for (how, parts) in [
        ("trap", ["Other", "the guest trapped"]),
        ("loop", ["Other", "200ms of CPU time (`limits.cpu`)"]),
        ("grow", ["Other", "33554432 bytes (`limits.memory`)"]),
    ] {
        answers(&host, &format!("/misbehave?how={how}"), 502, &parts).await;
        answers(&host, "/misbehave?how=answer", 200, &["answered"]).await;
    }
    // The operator sees who called what, and the guest's own backtrace.
    host.logs("provider=\"probe\" interface=\"probe:types/callbacks@1.0.0\"").await;
    host.logs("wasm `unreachable` instruction executed").await;
    host.stop().await;
}

#[tokio::test]
async fn what_is_not_there_and_what_is_malformed_is_told_to_the_extension() {
    let (_lab, mut host) = callee("").await;
    answers(&host, "/absent", 502, &["Unimplemented", "probe:types/absent@1.0.0"]).await;
    answers(&host, "/malformed", 502, &["BadArguments", "callbacks@1.0.0#turn"]).await;
    host.logs("a provider called the guest wrongly").await;
    answers(&host, "/turn?text=x", 200, &[]).await;
    host.stop().await;
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_is_ended() {
    let (_lab, mut host) = callee("limits = { cpu = \"none\", deadline = \"none\" }").await;
    answers(&host, "/give-up?how=loop&ms=50", 502, &["given up"]).await;
    measures(&mut host, "backplane_requests_total{workload=\"shop\",ended=\"cancelled\"} 1").await;
    host.stop().await;
}

#[tokio::test]
async fn the_deadline_of_a_request_holds_for_the_calls_that_it_leads_to() {
    let limits = "limits = { cpu = \"none\", deadline = \"500ms\" }";
    let (_lab, mut host) = callee(limits).await;
    // The guest that waits, and the one that loops for it, end at the same time: either may be first.
    let (status, text) = host.get("/misbehave?how=loop").await;
    assert!(status == 504 || (status == 502 && text.contains("Deadline")), "{status} {text}");
    measures(&mut host, "backplane_requests_running{workload=\"shop\"} 0").await;
    host.stop().await;
}

#[tokio::test]
async fn a_guest_without_imports_is_called_as_soon_as_it_is_ready_and_several_at_once() {
    let link = "links = [{ target = \"probe:types/concurrent-callbacks@1.0.0\", \
                provider = \"probe\", config = { call = { calls = 8, milliseconds = 100 } } }]";
    let lab = lab("callee-p3", "", link);
    let mut host = lab.start(["host"]).await;
    host.logs("the workload answered first: Ok(\"first\")").await;
    // Eight calls, and fewer instances: one of them has had several at once.
    let log = host.log();
    let several = (2..=8).any(|at_once| log.contains(&format!("Ok(\"{at_once}\")")));
    assert!(several, "{log}");
    host.logs("what came behind the answer has ended").await;
    host.stop().await;
}
