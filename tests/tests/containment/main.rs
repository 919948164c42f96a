//! An extension that misbehaves in every way that can be contained: what the client of the workload that called sees, what
//! the operator reads, and that the others go on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use backplane_tests::{Lab, Running, component, library, within};

/// Two workloads that share one extension: `shop` at `/shop`, and its neighbour.
fn lab(extension: &str, shop: &str) -> Lab {
    let lab = Lab::new();
    lab.write("plugins/probe.so", library("probe"));
    let guest = component("call-faults");
    let workload = |name: &str, more: &str| {
        format!(
            "[workloads.{name}]\ncomponent = {guest:?}\nlimits.deadline = \"2s\"\n\
             http = {{ path = \"/{name}\", strip = true }}\n{more}\n"
        )
    };
    lab.with_config(&format!(
        "enable = [\"probe\"]\nhttp.listen = \"127.0.0.1:0\"\n{extension}\n{}{}",
        workload("shop", shop),
        workload("neighbour", "")
    ))
}

async fn start(lab: &Lab) -> Running {
    let mut host = lab.start(["host"]).await;
    host.listens().await;
    host
}

/// What one call came to.
struct Fault {
    path: &'static str,
    /// What the client gets.
    status: u16,
    /// What the log has of it.
    logged: &'static [&'static str],
}

const fn fault(path: &'static str, status: u16, logged: &'static [&'static str]) -> Fault {
    Fault { path, status, logged }
}

/// Of calls: a panic at once, in a later poll and with what is no text; failures of each kind; an answer that never comes;
/// a future whose drop panics; answers that are malformed in each way; a destructor that panics.
const FAULTS: [Fault; 15] = [
    fault("/panic", 502, &["faults@1.0.0#panic`", "the provider panicked", "as asked"]),
    fault("/panic-later", 502, &["faults@1.0.0#panic-later`", "the provider panicked", "as asked"]),
    fault("/panic-any", 502, &["faults@1.0.0#panic-any`", "the provider panicked"]),
    fault("/fail?kind=0", 502, &["faults@1.0.0#fail`", "the provider failed: as asked"]),
    fault(
        "/fail?kind=4",
        502,
        &["faults@1.0.0#fail`", "the provider lacks what it needs: as asked"],
    ),
    fault("/fail?kind=6", 502, &["faults@1.0.0#fail`", "the provider denied the call: as asked"]),
    // The interface has an error for it: the guest goes on, and is not told what is for the operator.
    fault("/fail-later", 200, &["function=fail-later ", "as asked"]),
    fault("/never", 504, &["limits.deadline", "the deadline passed", "function=never "]),
    fault(
        "/never-and-panic",
        504,
        &["limits.deadline", "function=never-and-panic ", "a cancelled call panicked"],
    ),
    fault(
        "/malformed-string",
        502,
        &["faults@1.0.0#malformed-string`", "the provider's answer is malformed"],
    ),
    fault("/truncated", 502, &["faults@1.0.0#truncated`", "the provider's answer is malformed"]),
    fault("/trailing", 502, &["faults@1.0.0#trailing`", "the provider's answer is malformed"]),
    fault(
        "/endless-list",
        502,
        &["faults@1.0.0#endless-list`", "the provider's answer is malformed"],
    ),
    fault(
        "/no-such-case",
        502,
        &["faults@1.0.0#no-such-case`", "the provider's answer is malformed"],
    ),
    fault("/bomb", 200, &["the drop of a resource panicked"]),
];

#[tokio::test]
async fn what_an_extension_does_wrong_is_the_calling_request_s_and_nobody_else_s() {
    let lab = lab("", "");
    let mut host = start(&lab).await;
    for Fault { path, status, logged } in &FAULTS {
        let before = host.log().len();
        let (answered, text) = host.get(&format!("/shop{path}")).await;
        assert_eq!(answered, *status, "{path}: {text}\n{}", &host.log()[before..]);
        assert!(
            !text.contains("as asked"),
            "{path}: the client is told what is the operator's: {text}"
        );
        for part in *logged {
            host.logs_since(before, part).await;
        }
        assert_eq!(host.get("/shop/").await.0, 200, "{path}: the workload does not go on");
        assert_eq!(host.get("/neighbour/").await.0, 200, "{path}: its neighbour does not go on");
    }
    // Nobody waits for what will not come.
    assert_eq!(host.get("/neighbour/waiting").await.1, "0\n");
    host.stop().await;
}

#[tokio::test]
async fn handles_that_a_guest_leaves_behind_are_released_with_its_instance() {
    let lab = lab("", "");
    let host = start(&lab).await;
    for _ in 0..20 {
        assert_eq!(host.get("/shop/thousand").await, (200, "1000\n".to_owned()));
    }
    // Those of the last request are released when its instance is gone, which may be a moment after its answer.
    let released = async { while host.get("/neighbour/live").await.1 != "0\n" {} };
    within("the handles are released", released).await;
    host.stop().await;
}

#[tokio::test]
async fn a_call_that_blocks_its_thread_is_named_and_the_others_go_on() {
    let lab = lab("admin.watchdog = \"300ms\"", "").with_variable("TOKIO_WORKER_THREADS", "2");
    let mut host = start(&lab).await;
    let blocking =
        tokio::spawn(reqwest::get(format!("http://{}/shop/block?ms=1500", host.address())));
    host.logs("has held a thread of the host").await;
    assert_eq!(host.get("/neighbour/").await.0, 200);
    assert!(host.log().contains("called by workload `shop`"), "{}", host.log());
    blocking.await.unwrap().unwrap();
    host.stop().await;
}

#[tokio::test]
async fn a_step_of_the_lifecycle_that_panics_is_told_by_its_name() {
    let refused = lab("[extensions.probe.config]\ncreate = \"panic\"", "").run(["host"]).await;
    assert_ne!(refused.code, Some(0), "{}", refused.stderr);
    refused.says(&["`probe`", "create panics, as configured"]);
    let links = "[[workloads.shop.links]]\ntarget = \"probe:types\"\nprovider = \"probe\"\n\
                 config = { bind = \"panic\" }";
    let refused = lab("", links).run(["host"]).await;
    assert_ne!(refused.code, Some(0), "{}", refused.stderr);
    refused.says(&["`shop`", "`probe`", "bind panics, as configured"]);
    // What comes at the end holds nobody up.
    let links = links.replace("bind", "unbind");
    let lab = lab("[extensions.probe.config]\nshutdown = \"panic\"", &links);
    let host = start(&lab).await;
    assert_eq!(host.get("/shop/").await.0, 200);
    let log = host.stop().await;
    for told in ["unbind panics, as configured", "shutdown panics, as configured"] {
        assert!(log.contains(told), "no `{told}` in: {log}");
    }
}
