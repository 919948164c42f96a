//! Resources that a component extension makes: they live in its instance, as long as somebody holds them.

use crate::{answers, becomes, host};

#[tokio::test]
async fn constructors_methods_statics_and_borrows_are_called_in_its_instance() {
    let (_lab, host) = host("", "").await;
    answers(&host, "/items?label=first", 200, &["first!second second 1"]).await;
    answers(&host, "/items?label=the-longest", 200, &["the-longest!second the-longest! "]).await;
    answers(&host, "/open?label=x", 200, &["Some(\"x\")"]).await;
    answers(&host, "/open?label=", 200, &["None"]).await;
    answers(&host, "/open?label=refused", 502, &["refused, as asked"]).await;
    becomes(&host, "/live", "0").await;
    host.stop().await;
}

#[tokio::test]
async fn what_a_caller_held_is_dropped_when_it_ends() {
    let (_lab, host) = host("", "").await;
    answers(&host, "/leave?label=a&how=answer", 200, &["left"]).await;
    becomes(&host, "/live", "0").await;
    answers(&host, "/leave?label=a&how=trap", 500, &[]).await;
    becomes(&host, "/live", "0").await;
    host.stop().await;
}

#[tokio::test]
async fn one_that_is_kept_lives_and_is_gone_with_the_instance_that_made_it() {
    let (_lab, mut host) = host("", "instances = { requests = 100 }\nlimits.concurrency = 1").await;
    answers(&host, "/keep?label=mine", 200, &["kept"]).await;
    answers(&host, "/kept", 200, &["mine"]).await;
    answers(&host, "/live", 200, &["1"]).await;
    answers(&host, "/act?how=trap", 502, &["the extension's instance was ended"]).await;
    answers(&host, "/kept", 502, &[]).await;
    host.logs("the resource is gone: the extension's instance that made it has ended").await;
    // What is gone ends nothing of the instance that is there now.
    answers(&host, "/add?number=1", 200, &["1"]).await;
    answers(&host, "/keep?label=other", 200, &["kept"]).await;
    answers(&host, "/add?number=1", 200, &["2"]).await;
    becomes(&host, "/live", "1").await;
    host.stop().await;
}

#[tokio::test]
async fn a_destructor_that_traps_ends_the_instance_and_not_who_let_go() {
    let (_lab, mut host) = host("", "").await;
    answers(&host, "/add?number=1", 200, &["1"]).await;
    answers(&host, "/leave?label=trap%20when%20dropped&how=answer", 200, &["left"]).await;
    host.logs("an instance ended that nobody waited for").await;
    answers(&host, "/add?number=1", 200, &["1"]).await;
    host.stop().await;
}
