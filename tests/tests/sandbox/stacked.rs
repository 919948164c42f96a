//! A component extension that wraps another extension: the counter, on it and on what it wraps.

use backplane_tests::{Lab, component};

use crate::answers;

/// A lab with two counters: `counter` on the encrypted store, and `plain`, under `/plain`, on what it is kept in.
fn lab(keys: &str) -> Lab {
    let lab = Lab::new().with_keyvalue();
    lab.write(
        "plugins/encrypted-keyvalue.wasm",
        std::fs::read(component("encrypted-keyvalue")).unwrap(),
    );
    configured(lab, keys)
}

fn configured(lab: Lab, keys: &str) -> Lab {
    let counter = component("counter");
    lab.with_config(&format!(
        "enable = [\"encrypted-keyvalue\", \"keyvalue\"]\nhttp.listen = \"127.0.0.1:0\"\n\
         [extensions.encrypted-keyvalue.config]\n{keys}\n\
         [workloads.counter]\ncomponent = {counter:?}\nhttp = {{}}\n\
         [[workloads.counter.links]]\ntarget = \"wasi:keyvalue\"\nprovider = \"encrypted-keyvalue\"\n\
         [workloads.plain]\ncomponent = {counter:?}\nhttp = {{ path = \"/plain\", strip = true }}\n\
         [[workloads.plain.links]]\ntarget = \"wasi:keyvalue\"\nprovider = \"keyvalue\"\n"
    ))
}

fn key(name: &str, byte: &str) -> String {
    format!("keys.{name} = \"{}\"\n", byte.repeat(32))
}

#[tokio::test]
async fn what_lies_in_the_wrapped_store_is_ciphertext_and_keys_are_rotated() {
    let lab = lab(&format!("active = \"k26\"\n{}", key("k26", "a1")));
    let host = lab.start(["host"]).await;
    for count in ["1\n", "2\n", "3\n"] {
        assert_eq!(host.get("/secret").await, (200, count.to_owned()));
    }
    answers(&host, "/plain/open", 200, &["1"]).await;
    // The same entry, read without the key: no number.
    let (status, text) = host.get("/plain/secret").await;
    assert!(status != 200 && text.contains("number"), "{status} {text}");
    host.stop().await;

    let both = format!("active = \"k27\"\n{}{}", key("k26", "a1"), key("k27", "b2"));
    let lab = configured(lab, &both);
    let host = lab.start(["host"]).await;
    assert_eq!(host.get("/secret").await, (200, "4\n".to_owned()), "with the key of before");
    host.stop().await;

    let lab = configured(lab, &format!("active = \"k27\"\n{}", key("k27", "b2")));
    let host = lab.start(["host"]).await;
    assert_eq!(host.get("/secret").await, (200, "5\n".to_owned()), "encrypted anew meanwhile");
    host.stop().await;

    let lab = configured(lab, &format!("active = \"k28\"\n{}", key("k28", "c3")));
    let host = lab.start(["host"]).await;
    let (status, text) = host.get("/secret").await;
    assert!(status != 200 && text.contains("the key `k27`, which config does not have"), "{text}");
    host.stop().await;
}

#[tokio::test]
async fn a_config_without_keys_is_told_by_the_first_call() {
    let lab = lab("active = \"k26\"\n");
    let host = lab.start(["host"]).await;
    let (status, text) = host.get("/secret").await;
    assert!(
        status != 200 && text.contains("`active` is `k26`, and `keys` has no such key"),
        "{text}"
    );
    host.stop().await;
}

#[tokio::test]
async fn without_a_link_nobody_guesses_which_of_the_two_serves() {
    let lab = lab("active = \"k26\"\n");
    let counter = component("counter");
    let lab = lab.with_config(&format!(
        "enable = [\"encrypted-keyvalue\", \"keyvalue\"]\nhttp.listen = \"127.0.0.1:0\"\n\
         [workloads.counter]\ncomponent = {counter:?}\nhttp = {{}}\n"
    ));
    lab.run(["host"]).await.is_refused(&["`encrypted-keyvalue`", "`keyvalue`", "provider ="]);
}

#[tokio::test]
async fn extensions_that_need_each_other_in_a_circle_are_refused() {
    let lab = Lab::new();
    for name in ["one", "two"] {
        lab.write(
            &format!("plugins/{name}.wasm"),
            std::fs::read(component("encrypted-keyvalue")).unwrap(),
        );
    }
    let lab = lab.with_config("enable = [\"one\", \"two\"]\nhttp.listen = \"127.0.0.1:0\"\n");
    lab.run(["host"])
        .await
        .is_refused(&["`one`, `two` need each other in a circle", "extensions.NAME.links"]);
}

#[tokio::test]
async fn one_without_what_it_imports_is_refused() {
    let lab = Lab::new();
    lab.write("plugins/one.wasm", std::fs::read(component("encrypted-keyvalue")).unwrap());
    let lab = lab.with_config("enable = [\"one\"]\nhttp.listen = \"127.0.0.1:0\"\n");
    lab.run(["host"]).await.is_refused(&["failed to start the extension `one`", "wasi:keyvalue"]);
}
