//! A component that knows nothing of this host, in the plugins folder: one instance, which all workloads share.

use backplane_tests::{Lab, component};

use crate::{answers, host, lab};

#[tokio::test]
async fn somebody_else_s_component_works_as_an_extension() {
    let (_lab, host) = host("", "").await;
    answers(&host, "/echo?size=0", 200, &["0"]).await;
    answers(&host, "/echo?size=3000000", 200, &["3000000"]).await;
    answers(&host, "/wide", 200, &["1 18446744073709551615 cdefghi 0.5"]).await;
    answers(&host, "/act?how=fail", 502, &["no `fail` here"]).await;
    host.stop().await;
}

#[tokio::test]
async fn its_state_is_that_of_one_instance_however_many_call_at_once() {
    let (_lab, host) = host("", "").await;
    let calls = (0..50).map(|_| host.get("/add?number=1"));
    let mut sums: Vec<u32> = futures::future::join_all(calls)
        .await
        .iter()
        .map(|(_, sum)| sum.parse().unwrap())
        .collect();
    sums.sort_unstable();
    assert_eq!(sums, (1..=50).collect::<Vec<_>>());
    host.stop().await;
}

#[tokio::test]
async fn it_is_pinned_and_listed_like_a_library() {
    let lab = lab(
        "",
        "digest = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"",
        "",
    );
    lab.run(["host"]).await.is_refused(&[
        "the extension `shelf`",
        "its digest is sha256:",
        "the config pins",
    ]);
    let lab = self::lab("", "", "");
    let listed = lab.run(["extensions"]).await;
    let listed = listed.succeeds();
    assert!(listed.contains("shelf") && listed.contains("acme:shelf/shelf@1.0.0"), "{listed}");
}

#[tokio::test]
async fn a_library_and_a_component_of_one_name_are_an_error() {
    let lab = lab("", "", "");
    lab.write("plugins/shelf.so", "");
    let parts = ["both `shelf.so` and `shelf.wasm`", "remove one", "[extensions.shelf]"];
    lab.run(["host"]).await.is_refused(&parts);
}

#[tokio::test]
async fn what_is_no_component_is_refused() {
    let lab = lab("", "", "");
    lab.write("plugins/shelf.wasm", b"\0asm\x01\0\0\0");
    lab.run(["host"]).await.is_refused(&["the extension `shelf`", "a core WebAssembly module"]);
}

#[tokio::test]
async fn a_library_has_no_sandbox_to_set() {
    let lab = Lab::new().with_keyvalue().with_config(
        "enable = [\"keyvalue\"]\nhttp.listen = \"127.0.0.1:0\"\n[extensions.keyvalue]\nlimits.memory = \"1MiB\"\n",
    );
    lab.run(["host"]).await.is_refused(&[
        "the extension `keyvalue`",
        "`limits`",
        "components alone",
    ]);
}

#[tokio::test]
async fn a_link_with_config_is_refused() {
    let user = component("shelf-user");
    let lab = lab(
        "",
        "",
        "[[workloads.shop.links]]\ntarget = \"acme:shelf\"\nprovider = \"shelf\"\nconfig = { a = 1 }\n",
    );
    assert!(user.exists());
    lab.run(["host"]).await.is_refused(&["no config of a link", "[extensions.shelf.config]"]);
}
