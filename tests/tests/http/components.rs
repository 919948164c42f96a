//! Files that are not components, and components that cannot be linked: what the message says.

use std::error::Error as _;

use backplane::workload::{PrepareError, Trigger, spec::Spec};

use crate::support::{component, engines, prepare, spec};

/// The whole chain of messages of a workload whose component has these bytes.
async fn refusal(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.wasm");
    std::fs::write(&file, bytes).unwrap();
    let error = refused(Spec { component: file.clone(), ..spec("hello") }).await;
    let text = chain(&error);
    assert!(text.contains(&file.display().to_string()), "{text}");
    text
}

async fn refused(spec: Spec) -> PrepareError {
    prepare(&engines(), spec).await.unwrap_err()
}

fn chain(error: &PrepareError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}

#[tokio::test]
async fn a_core_module_is_told_from_a_component() {
    let module = wat::parse_str("(module)").unwrap();
    assert_says(
        &refusal(&module).await,
        &["core WebAssembly module", "wasm32-wasip2", "wasm-tools component new"],
    );
}

#[tokio::test]
async fn a_file_that_is_cut_off_is_told_wherever_it_ends() {
    let whole = std::fs::read(component("hello")).unwrap();
    for length in [3, 7, 8 + 5, 1000, whole.len() / 2, whole.len() - 1] {
        let text = refusal(&whole[..length]).await;
        assert_says(&text, &[&format!("cut off after {length} bytes")]);
    }
}

#[tokio::test]
async fn files_that_are_not_webassembly_are_told_what_they_look_like() {
    assert_says(&refusal(b"").await, &["empty"]);
    assert_says(&refusal(b"\x7fELF and so on").await, &["not WebAssembly", "\\x7fELF"]);
    assert_says(&refusal(b"  (component)").await, &["text", "wasm-tools parse"]);
    assert_says(&refusal(b"\0asm\x0e\0\x01\0").await, &["version 14"]);
}

#[tokio::test]
async fn a_damaged_component_is_not_valid() {
    let mut bytes = wat::parse_str("(component (import \"a\" (func)))").unwrap();
    let last = bytes.len() - 1;
    bytes[last] = 0x7f;
    assert_says(&refusal(&bytes).await, &["not valid", "wasm-tools validate"]);
}

#[tokio::test]
async fn a_feature_the_engine_has_not_is_called_that() {
    let bytes = wat::parse_str("(component (core module (memory i64 1)))").unwrap();
    assert_says(&refusal(&bytes).await, &["uses a feature that this host has not"]);
}

#[tokio::test]
async fn an_import_nobody_provides_is_named() {
    let bytes =
        wat::parse_str(r#"(component (import "a:b/c@1.0.0" (instance (export "f" (func)))))"#)
            .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.wasm");
    std::fs::write(&file, bytes).unwrap();
    let error = refused(Spec { component: file, ..spec("hello") }).await;
    assert_says(&chain(&error), &["link workload `hello`", "a:b/c@1.0.0"]);
}

#[tokio::test]
async fn a_route_to_a_component_without_a_handler_is_refused() {
    let error = refused(Spec { http: spec("hello").http, ..spec("command") }).await;
    assert_says(&chain(&error), &["does not answer HTTP", "wasi:http/incoming-handler"]);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let mut spec = spec("hello");
    let folder = backplane::workload::spec::Preopen {
        host: "/nowhere/at/all".into(),
        guest: "/".to_owned(),
        writable: false,
    };
    spec.preopens = vec![folder];
    assert_says(&chain(&refused(spec).await), &["/nowhere/at/all"]);
}

#[tokio::test]
async fn what_makes_a_workload_run_is_read_from_its_exports() {
    let engines = engines();
    let trigger = async |guest: &str| {
        prepare(&engines, Spec { http: None, ..spec(guest) }).await.unwrap().trigger()
    };
    assert_eq!(trigger("hello").await, Trigger::Http);
    assert_eq!(trigger("hello-p3").await, Trigger::Http);
    assert_eq!(trigger("command").await, Trigger::Command);
}
