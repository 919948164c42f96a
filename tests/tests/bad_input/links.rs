//! Imports that cannot be linked: the message has the line of configuration that would settle it.

use backplane_tests::{Lab, component};

#[tokio::test]
async fn an_import_that_nobody_provides_is_named() {
    let lab = Lab::new();
    let counter = component("counter");
    lab.run(["run".as_ref(), counter.as_os_str()]).await.is_refused(&[
        "workload `counter`",
        "nothing provides `wasi:keyvalue/store@0.2.0-draft2`",
        "nothing provides `wasi:keyvalue/atomics@0.2.0-draft2`",
        "put an extension that provides it into the plugins folder",
    ]);
}

#[tokio::test]
async fn an_extension_that_would_provide_an_import_is_named_with_the_line_that_enables_it() {
    let lab = Lab::new().with_keyvalue();
    let counter = component("counter");
    let message = [
        "nothing provides `wasi:keyvalue/store@0.2.0-draft2`",
        "the extension `keyvalue`",
        "plugins/keyvalue.so",
        "not enabled",
        "enable = [\"keyvalue\"]",
    ];
    lab.run(["run".as_ref(), counter.as_os_str()]).await.is_refused(&message);

    let inspected = lab.run(["inspect".as_ref(), counter.as_os_str()]).await;
    assert!(inspected.succeeds().contains("nobody; not enabled: keyvalue"), "{}", inspected.stdout);
    assert!(inspected.stdout.contains("enable = [\"keyvalue\"]"), "{}", inspected.stdout);
}

#[tokio::test]
async fn the_line_that_enables_an_extension_keeps_those_that_are_enabled() {
    let lab = Lab::new().with_keyvalue().with_config("enable = [\"probe\"]\n");
    lab.write("plugins/probe.so", backplane_tests::library("probe"));
    let counter = component("counter");
    lab.run(["run".as_ref(), counter.as_os_str()])
        .await
        .is_refused(&["enable = [\"keyvalue\", \"probe\"]"]);

    let link = "[[links]]\ntarget = \"wasi:keyvalue\"\nprovider = \"keyvalue\"\n";
    let lab = lab.with_config(&format!("enable = [\"probe\"]\n{link}"));
    lab.run(["run".as_ref(), counter.as_os_str()]).await.is_refused(&[
        "to the provider `keyvalue`, which this host does not have; it has `probe`",
        "enable = [\"keyvalue\", \"probe\"]",
    ]);
}

#[tokio::test]
async fn taking_an_extension_out_of_enable_keeps_its_workloads_from_starting() {
    let config = |enable: &str| {
        format!(
            "enable = [{enable}]\n[http]\nlisten = \"127.0.0.1:0\"\n[workloads.counter]\n\
             component = {:?}\nhttp = {{}}\n[[workloads.counter.links]]\ntarget = \"wasi:keyvalue\"\n\
             provider = \"keyvalue\"\nconfig = {{ buckets = [\"default\"] }}\n",
            component("counter")
        )
    };
    let lab = Lab::new().with_keyvalue().with_config(&config("\"keyvalue\""));
    let running = lab.start(["host"]).await;
    assert_eq!(running.get("/").await.0, 200);
    running.stop().await;

    let lab = lab.with_config(&config(""));
    lab.run(["host"]).await.is_refused(&[
        "backplane.toml",
        "workload `counter`",
        "`wasi:keyvalue/store@0.2.0-draft2`",
        "enable = [\"keyvalue\"]",
    ]);
}

/// Two extensions for the same interfaces: one library under two names.
const TWO: &str = r#"
enable = ["here", "there"]
[extensions.here]
file = "plugins/keyvalue.so"
config = { backend = "memory" }
[extensions.there]
file = "plugins/there.so"
config = { backend = "memory" }
"#;

fn two() -> Lab {
    let lab = Lab::new().with_keyvalue();
    lab.write("plugins/there.so", backplane_tests::library("keyvalue"));
    lab
}

#[tokio::test]
async fn two_providers_for_one_import_are_not_guessed_between() {
    let lab = two().with_config(TWO);
    let counter = component("counter");
    lab.run(["run".as_ref(), counter.as_os_str()]).await.is_refused(&[
        "`here`, `there` all provide `wasi:keyvalue/store@0.2.0-draft2`",
        "[[links]]",
        "target = \"wasi:keyvalue/store@0.2.0-draft2\"",
        "provider = \"here\"",
    ]);

    let link = "[[links]]\ntarget = \"wasi:keyvalue\"\nprovider = \"there\"\n";
    let lab = lab.with_config(&format!("{TWO}{link}"));
    let running = lab
        .start(["run".as_ref(), counter.as_os_str(), "--listen".as_ref(), "127.0.0.1:0".as_ref()])
        .await;
    running.stop().await;
}

#[tokio::test]
async fn a_resource_group_is_not_split_over_two_providers() {
    let links = "[[links]]\ntarget = \"wasi:keyvalue/store\"\nprovider = \"here\"\n\
                 [[links]]\ntarget = \"wasi:keyvalue/atomics\"\nprovider = \"there\"\n";
    let lab = two().with_config(&format!("{TWO}{links}"));
    let counter = component("counter");
    lab.run(["run".as_ref(), counter.as_os_str()]).await.is_refused(&[
        "`wasi:keyvalue/atomics@0.2.0-draft2` uses the resource `bucket` of `wasi:keyvalue/store@0.2.0-draft2`",
        "linked to `there`",
        "to `here`",
        "Link both to the same provider",
    ]);
}
