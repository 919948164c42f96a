//! Component extensions that trap, loop, eat memory and try what they were not granted.

use backplane_tests::component;

use crate::{answers, becomes, host, lab};

#[tokio::test]
async fn one_that_traps_or_meets_a_limit_fails_this_call_and_is_there_for_the_next() {
    let limits = "limits = { cpu = \"200ms\", memory = \"32MiB\", deadline = \"2s\" }";
    let (_lab, mut host) = host(limits, "").await;
    for how in ["trap", "loop", "grow"] {
        answers(&host, &format!("/act?how={how}"), 502, &["the extension's instance was ended"])
            .await;
        answers(&host, "/act?how=answer", 200, &["answered"]).await;
    }
    // The operator sees whose call it was, why it failed, and the extension's own backtrace.
    host.logs("provider=shelf").await;
    host.logs("200ms of CPU time (`limits.cpu`)").await;
    host.logs("33554432 bytes (`limits.memory`)").await;
    host.logs("wasm `unreachable` instruction executed").await;
    host.stop().await;
}

#[tokio::test]
async fn it_has_nothing_that_was_not_granted_to_itself() {
    // The workload's own grants are not the extension's.
    let grants = "environment = { SECRET = \"s\" }\nnetwork.sockets = [\"127.0.0.1:1\"]\n\
                  preopens = [{ host = \"/etc\", guest = \"/etc\" }]";
    let (_lab, host) = host("", grants).await;
    answers(&host, "/act?how=read", 502, &["read: "]).await;
    answers(&host, "/act?how=connect", 502, &["connect: "]).await;
    answers(&host, "/act?how=environment", 200, &["[]"]).await;
    host.stop().await;
    let granted =
        "environment = { OWN = \"o\" }\npreopens = [{ host = \"/etc\", guest = \"/etc\" }]";
    let (_lab, host) = self::host(granted, "").await;
    answers(&host, "/act?how=environment", 200, &["[(\"OWN\", \"o\")]"]).await;
    answers(&host, "/act?how=read", 200, &[]).await;
    host.stop().await;
}

#[tokio::test]
async fn one_that_keeps_failing_rests_and_comes_back() {
    let (_lab, mut host) = host("", "").await;
    for _ in 0..3 {
        answers(&host, "/act?how=trap", 502, &["the extension's instance was ended"]).await;
    }
    host.logs("instances of the extension fail one after the other").await;
    becomes(&host, "/act?how=answer", "answered").await;
    host.stop().await;
}

#[tokio::test]
async fn a_flood_of_one_workload_leaves_another_its_turns() {
    let user = component("shelf-user");
    let other = format!(
        "[workloads.other]\ncomponent = {user:?}\nhttp = {{ path = \"/other\", strip = true }}\n"
    );
    let limits = "limits = { queue-wait = \"60s\", deadline = \"60s\" }";
    let lab = lab("limits.deadline = \"60s\"", limits, &format!("\n{other}"));
    let host = lab.start(["host"]).await;
    answers(&host, "/act?how=answer", 200, &[]).await;
    answers(&host, "/other/act?how=answer", 200, &[]).await;
    // Of twenty that take 300 ms each, one after the other, it waits for two at most.
    let flood = futures::future::join_all((0..20).map(|_| host.get("/act?how=wait")));
    let begun = std::time::Instant::now();
    let alone = async {
        answers(&host, "/other/act?how=answer", 200, &["answered"]).await;
        begun.elapsed()
    };
    let (answers, alone) = futures::future::join(flood, alone).await;
    let all = begun.elapsed();
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert!(alone < all / 4, "the other waited {alone:?} of {all:?}");
    host.stop().await;
}
