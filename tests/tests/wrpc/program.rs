//! The program with a server: a component that calls it, what `inspect` prints, and a server that is not there.

use std::time::Duration;

use backplane_tests::{Lab, within};
use tokio::net::TcpListener;

use crate::{stock::serve, support::WIT};

/// A command that adds 40 and 2, and fails unless that is 42.
const ADDER: &str = r#"(component
  (import "acme:math/sums@1.0.0" (instance $sums
    (export "add" (func (param "a" u32) (param "b" u32) (result u32)))))
  (core func $add (canon lower (func $sums "add")))
  (core module $m
    (import "sums" "add" (func $add (param i32 i32) (result i32)))
    (func (export "run") (result i32)
      (i32.ne (call $add (i32.const 40) (i32.const 2)) (i32.const 42))))
  (core instance $i (instantiate $m
    (with "sums" (instance (export "add" (func $add))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $e (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $e)))"#;

fn lab(server: &str) -> Lab {
    let lab = Lab::new();
    lab.write("sums.wit", WIT);
    lab.write("adder.wasm", wat::parse_str(ADDER).unwrap());
    lab.with_config(&format!("http.listen = \"127.0.0.1:0\"\n[servers.sums]\n{server}\n"))
}

#[tokio::test]
async fn a_component_calls_a_server_that_only_the_config_knows() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let lab = lab(&format!("address = \"tcp://{address}\"\nwit = \"sums.wit\"\ndeadline = \"5s\""));
    let test = async {
        lab.run(["run", "adder.wasm"]).await.succeeds();
        let inspected = lab.run(["inspect", "adder.wasm"]).await;
        let line = format!("over the network: sums, tcp://{address}, deadline 5s");
        assert!(inspected.succeeds().contains(&line), "{}", inspected.stdout);
        let inspected = lab.run(["inspect", "--json", "adder.wasm"]).await;
        let json: serde_json::Value = serde_json::from_str(inspected.succeeds()).unwrap();
        let place = &json["imports"][0]["place"];
        assert_eq!(
            *place,
            serde_json::json!({
                "kind": "network",
                "transport": "tcp",
                "address": format!("tcp://{address}"),
                "deadline": 5000,
            })
        );
    };
    tokio::select! { () = test => {}, () = serve(listener) => {} }
}

#[tokio::test]
async fn a_host_starts_without_its_server_says_so_and_sees_it_come() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let lab = lab(&format!("address = \"tcp://{address}\"\nwit = \"sums.wit\""))
        .with_variable("BACKPLANE_ADMIN__LISTEN", "127.0.0.1:0");
    // A call of it traps: there is no error case in `u32`.
    let ran = lab.run(["run", "adder.wasm"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    ran.says(&["cannot be reached", "it was not sent", "`acme:math/sums@1.0.0#add`"]);

    let mut host = lab.start(["host"]).await;
    let admin = host.admin().await;
    host.logs("the server cannot be reached").await;
    until(&admin, "server `sums` cannot be reached").await;
    let _listener = TcpListener::bind(address).await.unwrap();
    host.logs("the server can be reached again").await;
    until(&admin, "ready\n").await;
    host.stop().await;
}

/// Waits until `/readyz` has that text and is 200.
async fn until(admin: &str, text: &str) {
    let asked = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            let answer = reqwest::get(format!("http://{admin}/readyz")).await.unwrap();
            let (status, body) = (answer.status(), answer.text().await.unwrap());
            if status == 200 && body.starts_with(text) || body.contains(&format!(": {text}")) {
                return;
            }
        }
    };
    within(text, asked).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_server_is_told_before_anything_starts() {
    let host = |server: &'static str| async move { lab(server).run(["host"]).await };
    host("address = \"udp://127.0.0.1:1\"\nwit = \"sums.wit\"").await.is_refused(&[
        "backplane.toml:3:",
        "has no transport that is known",
        "tcp://HOST:PORT",
    ]);
    host("address = \"tcp://127.0.0.1:1\"").await.is_refused(&["backplane.toml", "wit"]);
    host("address = \"tcp://127.0.0.1:1\"\nwit = \"none.wit\"")
        .await
        .is_refused(&["the server `sums` cannot be used", "none.wit"]);
    host("address = \"tcp://127.0.0.1:1\"\nwit = \"sums.wit\"\nretry = true")
        .await
        .is_refused(&["retry"]);
    host("address = \"tcp://127.0.0.1:1\"\nwit = \"sums.wit\"\ndeadline = \"0s\"")
        .await
        .is_refused(&["`servers.sums.deadline` would let nothing through"]);
    host("address = \"tcp://127.0.0.1:1\"\nwit = \"sums.wit\"\n[extensions.sums]")
        .await
        .is_refused(&["`servers.sums` has the name of an extension"]);
    let lab = lab("address = \"tcp://127.0.0.1:1\"\nwit = \"more.wit\"");
    lab.write("more.wit", "package a:b; interface c { resource r; f: func(r: borrow<r>); }");
    lab.run(["host"]).await.is_refused(&["`a:b/c#f`", "parameter `r`", "no resources, streams"]);
}

#[tokio::test]
async fn settings_of_a_link_to_a_server_and_other_types_are_refused() {
    let link = "[workloads.shop]\ncomponent = \"adder.wasm\"\n[[workloads.shop.links]]\n\
                target = \"acme:math\"\nprovider = \"sums\"\nconfig = { a = 1 }";
    let lab = lab(&format!("address = \"tcp://127.0.0.1:1\"\nwit = \"sums.wit\"\n{link}"));
    lab.run(["host"]).await.is_refused(&["a server takes no settings of a link"]);
    lab.write("sums.wit", WIT.replace("-> u32;", "-> u64;"));
    lab.run(["host"]).await.is_refused(&["`acme:math/sums@1.0.0#add` differs in the result"]);
}
