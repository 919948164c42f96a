//! Files that are no component.

use std::fs;

use backplane_tests::{Lab, component};

#[tokio::test]
async fn a_core_module_is_told_from_a_component() {
    let lab = Lab::new();
    lab.write("core.wasm", b"\0asm\x01\0\0\0");
    for command in ["run", "inspect"] {
        lab.run([command, "core.wasm"]).await.is_refused(&[
            "core.wasm",
            "a core WebAssembly module; expected a component",
            "wasm32-wasip2",
            "wasm-tools component new",
        ]);
    }
}

#[tokio::test]
async fn a_component_that_is_cut_off_is_said_to_be() {
    let lab = Lab::new();
    let whole = fs::read(component("hello")).unwrap();
    for length in [9, whole.len() / 2, whole.len() - 1] {
        lab.write("cut.wasm", &whole[..length]);
        lab.run(["run", "cut.wasm"]).await.is_refused(&[
            "cut.wasm",
            &format!("the component is cut off after {length} bytes"),
            "copy or build it again",
        ]);
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_or_not_wasm_is_named() {
    let lab = Lab::new();
    lab.run(["run", "none.wasm"]).await.is_refused(&["none.wasm", "No such file"]);
    lab.write("empty.wasm", "");
    lab.run(["run", "empty.wasm"]).await.is_refused(&["empty.wasm", "the file is empty"]);
    lab.write("text.wasm", "not wasm at all, but a text");
    lab.run(["run", "text.wasm"]).await.is_refused(&[
        "text.wasm",
        "not WebAssembly",
        "begins with `not wasm`",
    ]);
}
