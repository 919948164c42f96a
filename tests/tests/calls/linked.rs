//! What is checked before a workload runs: that it exports what its providers call.

use backplane_tests::{Lab, library};

use crate::lab;

/// A component that exports `probe:types/concurrent-callbacks@1.0.0` with such functions.
fn exporting(functions: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::from("(component (core module $m");
    for (name, _) in functions {
        text.push_str(&format!(
            "(func (export \"{name}\") (param i32) (result i32) i32.const 0) (func (export \"{name}-callback\") (param i32 i32 i32) (result i32) unreachable)"
        ));
    }
    text.push_str(") (core instance $i (instantiate $m))");
    let mut exports = String::new();
    for (at, (name, ty)) in functions.iter().enumerate() {
        text.push_str(&format!(
            "(func $f{at} {ty} (canon lift (core func $i \"{name}\") {}))",
            if ty.starts_with("async") {
                format!("async (callback (core func $i \"{name}-callback\"))")
            } else {
                String::new()
            }
        ));
        exports.push_str(&format!("(export \"{name}\" (func $f{at}))"));
    }
    text.push_str(&format!(
        "(instance $e {exports}) (export \"probe:types/concurrent-callbacks@1.0.0\" (instance $e)))"
    ));
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A lab with a component of these exports.
fn with_exports(functions: &[(&str, &str)]) -> Lab {
    let lab = Lab::new();
    lab.write("plugins/probe.so", library("probe"));
    lab.write("exports.wasm", exporting(functions));
    lab.with_config(
        "enable = [\"probe\"]\nhttp.listen = \"127.0.0.1:0\"\n\
         [workloads.shop]\ncomponent = \"exports.wasm\"\n",
    )
}

const WAIT: (&str, &str) = ("wait", "async (param \"milliseconds\" u32) (result u32)");

#[tokio::test]
async fn a_function_of_another_type_is_refused_with_both_types() {
    let other = ("answer-first", "async (param \"milliseconds\" u32) (result u32)");
    let lab = with_exports(&[WAIT, other]);
    let refused = [
        "`probe:types/concurrent-callbacks@1.0.0#answer-first` differs in the result",
        "provider `probe` calls it with `string`, the component exports it with `u32`",
    ];
    lab.run(["host"]).await.is_refused(&refused);
    // Who looks at the file sees it as well.
    let inspected = lab.run(["inspect", "exports.wasm"]).await;
    let shown = inspected.succeeds();
    assert!(shown.contains("differs in the result"), "{shown}");
}

#[tokio::test]
async fn a_func_is_no_async_func() {
    let lab = with_exports(&[("wait", "(param \"milliseconds\" u32) (result u32)")]);
    let kinds = "calls it with `async func`, the component exports it with `func`";
    lab.run(["host"]).await.is_refused(&["differs in the kind of function", kinds]);
}

#[tokio::test]
async fn a_function_that_is_missing_is_named() {
    let lab = with_exports(&[WAIT]);
    let missing = "exports `probe:types/concurrent-callbacks@1.0.0` without `answer-first`";
    lab.run(["host"]).await.is_refused(&[missing, "which provider `probe` calls"]);
}

#[tokio::test]
async fn an_extension_refuses_a_link_for_which_the_workload_exports_nothing() {
    let link = "http = {}\nlinks = [{ target = \"probe:types/faults@1.0.0\", provider = \"probe\", \
                config = { call = { calls = 1, milliseconds = 1 } } }]";
    let lab = lab("call-faults", "", link);
    lab.run(["host"]).await.is_refused(&["provider `probe` refused", "exports nothing to call"]);
}

#[tokio::test]
async fn of_two_that_call_the_same_config_says_which() {
    let more = "[extensions.probe]\nfile = \"plugins/probe.so\"\n\
                [extensions.twin]\nfile = \"plugins/probe.so\"\n";
    let both = |links: &str| {
        let lab = lab("callee-p3", "", &format!("{links}\n{more}"));
        lab.with_variable("BACKPLANE_ENABLE", "[\"probe\", \"twin\"]")
    };
    let ambiguous = "`probe`, `twin` could call `probe:types/concurrent-callbacks@1.0.0`";
    let remedy = "add `[[links]]` with `target = \"probe:types/concurrent-callbacks@1.0.0\"`";
    both("").run(["host"]).await.is_refused(&[ambiguous, remedy]);
    let link = "links = [{ target = \"probe:types/concurrent-callbacks@1.0.0\", provider = \"twin\", \
                config = { call = { calls = 1, milliseconds = 1 } } }]";
    let lab = both(link);
    let mut host = lab.start(["host"]).await;
    host.logs("the workload answered Ok(\"1\")").await;
    assert!(host.log().contains("twin"), "{}", host.log());
    host.stop().await;
}

#[tokio::test]
async fn a_link_of_an_export_is_to_a_provider_that_calls_it() {
    let link = |provider: &str| {
        format!(
            "links = [{{ target = \"probe:types/concurrent-callbacks\", provider = \"{provider}\" }}]"
        )
    };
    let more = "[extensions.probe]\nfile = \"plugins/probe.so\"\n\
                [extensions.keyvalue]\nfile = \"plugins/keyvalue.so\"\n\
                config = { backend = \"memory\" }\n";
    let lab = lab("callee-p3", "", &format!("{}\n{more}", link("keyvalue")));
    let lab = lab.with_keyvalue().with_variable("BACKPLANE_ENABLE", "[\"probe\", \"keyvalue\"]");
    let not_called = "to the provider `keyvalue`, which does not call it; link it to `probe`";
    lab.run(["host"]).await.is_refused(&[not_called]);
    let lab = crate::lab("callee-p3", "", &link("prob"));
    lab.run(["host"]).await.is_refused(&["to the provider `prob`, which this host does not have"]);
}

#[tokio::test]
async fn a_link_for_nothing_is_refused_with_what_there_is() {
    let link = "links = [{ named = \"calbacks\", provider = \"nobody\" }]";
    let lab = lab("callee-p3", "", link);
    let unused = "with `named = \"calbacks\"` to the provider `nobody` is for nothing";
    lab.run(["host"]).await.is_refused(&[unused, "`probe:types/concurrent-callbacks@1.0.0`"]);
}

#[tokio::test]
async fn who_calls_an_export_is_shown() {
    let lab = lab("callee-p3", "", "");
    let guest = backplane_tests::component("callee-p3");
    let shown = lab.run(["inspect".as_ref(), guest.as_os_str()]).await;
    let line = shown.succeeds().lines().find(|line| line.contains("concurrent-callbacks"));
    assert!(line.unwrap().contains("probe"), "{line:?}");
    let json = lab.run(["inspect".as_ref(), "--json".as_ref(), guest.as_os_str()]).await;
    let json: serde_json::Value = serde_json::from_str(json.succeeds()).unwrap();
    assert_eq!(json["calls"][0]["provider"], "probe");
}
