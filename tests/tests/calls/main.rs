//! Calls of workloads by an extension: the program with the real library, and guests that are called.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod admitted;
mod answered;
mod linked;

use std::time::Duration;

use backplane_tests::{Lab, Running, component, library, within};

/// A lab with the extension `probe` and a workload of `guest`. `host` goes on at the config's head, `workload`
/// at the workload's table.
pub(crate) fn lab(guest: &str, host: &str, workload: &str) -> Lab {
    let lab = Lab::new();
    lab.write("plugins/probe.so", library("probe"));
    let guest = component(guest);
    lab.with_variable("BACKPLANE_ADMIN__LISTEN", "127.0.0.1:0").with_config(&format!(
        "enable = [\"probe\"]\nhttp.listen = \"127.0.0.1:0\"\n{host}\n\
         [workloads.shop]\ncomponent = {guest:?}\n{workload}\n"
    ))
}

/// The host of such a lab, with the guest `callee`, which is asked over HTTP to have itself called.
pub(crate) async fn callee(workload: &str) -> (Lab, Running) {
    let lab = lab("callee", "", &format!("http = {{}}\n{workload}"));
    let host = lab.start(["host"]).await;
    (lab, host)
}

/// Waits until the host's metrics have that line.
pub(crate) async fn measures(host: &mut Running, line: &str) {
    let url = format!("http://{}/metrics", host.admin().await);
    let measured = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            let metrics = reqwest::get(&url).await.unwrap().text().await.unwrap();
            if metrics.lines().any(|measured| measured == line) {
                return;
            }
        }
    };
    within(line, measured).await;
}
