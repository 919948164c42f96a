//! Component extensions: the program with components in its plugins folder, and workloads that use them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod forged;
mod hostile;
mod resources;
mod shared;
mod stacked;

use std::time::Duration;

use backplane_tests::{Lab, Running, component, within};

/// A lab with the component `shelf` in its plugins folder, and a workload `shop` that uses it. `host` goes on at the
/// config's head, `extension` at the extension's table, `workload` at the workload's.
pub(crate) fn lab(host: &str, extension: &str, workload: &str) -> Lab {
    let lab = Lab::new();
    lab.write("plugins/shelf.wasm", std::fs::read(component("shelf")).unwrap());
    let user = component("shelf-user");
    lab.with_variable("BACKPLANE_ADMIN__LISTEN", "127.0.0.1:0").with_config(&format!(
        "enable = [\"shelf\"]\nhttp.listen = \"127.0.0.1:0\"\n{host}\n\
         [extensions.shelf]\n{extension}\n\
         [workloads.shop]\ncomponent = {user:?}\nhttp = {{}}\n{workload}\n"
    ))
}

pub(crate) async fn host(extension: &str, workload: &str) -> (Lab, Running) {
    let lab = lab("", extension, workload);
    let host = lab.start(["host"]).await;
    (lab, host)
}

/// The path is answered with that status, and a text that has all these parts.
pub(crate) async fn answers(host: &Running, path: &str, status: u16, parts: &[&str]) {
    let (is, text) = host.get(path).await;
    assert_eq!(is, status, "{path}: {text}");
    for part in parts {
        assert!(text.contains(part), "{path}: no `{part}` in {text}");
    }
}

/// Waits until the path is answered with that text.
pub(crate) async fn becomes(host: &Running, path: &str, wanted: &str) {
    let becomes = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            if host.get(path).await == (200, wanted.to_owned()) {
                return;
            }
        }
    };
    within(&format!("{path} to be {wanted}"), becomes).await;
}
