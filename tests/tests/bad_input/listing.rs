//! `backplane extensions`: what lies there, without running any of it.

use sha2::{Digest as _, Sha256};

use crate::support::{Lab, library};

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
