//! `backplane extensions`: what lies there, without running any of it.

use sha2::{Digest as _, Sha256};

use backplane_tests::{Lab, component, library};

#[tokio::test]
async fn extensions_are_listed_with_version_interfaces_and_digest() {
    let lab = Lab::new().with_keyvalue();
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(library("keyvalue"))));
    let interfaces: Vec<_> = ["0.2.0-draft", "0.2.0-draft2"]
        .iter()
        .flat_map(|version| {
            ["store", "atomics", "batch"].map(|name| format!("wasi:keyvalue/{name}@{version}"))
        })
        .collect();

    for (config, status) in [("", "available"), ("enable = [\"keyvalue\"]\n", "enabled")] {
        lab.write("backplane.toml", config);
        let table = lab.run(["extensions"]).await;
        let table = table.succeeds();
        let row = table.lines().nth(1).unwrap();
        let words: Vec<_> = row.split_whitespace().collect();
        assert_eq!(words, ["keyvalue", "0.1.0", status, &interfaces[0], &digest], "{table}");
        for interface in &interfaces {
            assert!(table.contains(interface), "no {interface} in {table}");
        }

        let json = lab.run(["extensions", "--json"]).await;
        let json: serde_json::Value = serde_json::from_str(json.succeeds()).unwrap();
        assert_eq!(json[0]["name"], "keyvalue");
        assert_eq!(json[0]["version"], "0.1.0");
        assert_eq!(json[0]["status"], status);
        assert_eq!(json[0]["digest"], digest);
        assert_eq!(json[0]["interfaces"], serde_json::json!(interfaces));
    }
}

#[tokio::test]
async fn inspect_says_who_would_serve_each_import_and_leaves_a_running_host_alone() {
    let counter = component("counter");
    let lab = Lab::new().with_keyvalue().with_config(&format!(
        "enable = [\"keyvalue\"]\n[http]\nlisten = \"127.0.0.1:0\"\n[workloads.counter]\n\
         component = {counter:?}\nhttp = {{}}\n"
    ));
    // Its extension has a file that no second process may open.
    let running = lab.start(["host"]).await;
    let inspected = lab.run(["inspect".as_ref(), counter.as_os_str()]).await;
    let served = |interface: &str| {
        let row = inspected.succeeds().lines().find(|line| line.starts_with(interface)).unwrap();
        row.split_whitespace().last().unwrap()
    };
    assert_eq!(served("wasi:keyvalue/store@0.2.0-draft2"), "keyvalue");
    assert_eq!(served("wasi:keyvalue/atomics@0.2.0-draft2"), "keyvalue");
    assert_eq!(served("wasi:http/types@"), "host");
    running.stop().await;

    // Nor does it leave anything behind.
    let lab = Lab::new();
    lab.run(["inspect".as_ref(), counter.as_os_str()]).await.succeeds();
    assert!(!lab.path("data").exists() && !lab.path("state").exists());
}
