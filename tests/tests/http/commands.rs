//! `wasi:cli/run` commands: their exit codes, folders and sockets.

use std::time::Duration;

use backplane::workload::{Ended, Trigger, spec::Preopen, spec::Spec};
use tokio::net::TcpListener;

use crate::support::{engines, prepare, spec, within};

fn command(arguments: &[&str]) -> Spec {
    let mut spec = spec("command");
    spec.http = None;
    spec.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    spec
}

async fn run(spec: Spec) -> Result<i32, Ended> {
    let workload = prepare(&engines(), spec).await.unwrap();
    assert_eq!(workload.trigger(), Trigger::Command);
    within(workload.run_command()).await.unwrap()
}

#[tokio::test]
async fn a_command_has_no_deadline() {
    let mut spec = command(&[]);
    spec.limits.deadline = Some(Duration::ZERO);
    assert_eq!(run(spec).await.unwrap(), 0);
}

#[tokio::test]
async fn a_command_ends_with_its_exit_code() {
    assert_eq!(run(command(&[])).await.unwrap(), 0);
    // Rust's `process::exit` has only success and failure to say in WASI 0.2.
    assert_eq!(run(command(&["exit", "7"])).await.unwrap(), 1);
    assert_eq!(run(command(&["exit", "0"])).await.unwrap(), 0);
    assert_eq!(run(command(&["fail"])).await.unwrap(), 1);
}

#[tokio::test]
async fn a_command_that_traps_or_computes_for_ever_is_ended() {
    assert!(matches!(run(command(&["trap"])).await, Err(Ended::Trap(_))));
    let mut spinning = command(&["spin"]);
    spinning.limits.cpu = Some(Duration::from_millis(100));
    assert!(matches!(run(spinning).await, Err(Ended::Cpu(_))));
}

#[tokio::test]
async fn a_command_sees_the_folders_it_is_granted_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "text").unwrap();
    let granted = |writable, arguments: &[&str]| {
        let mut spec = command(arguments);
        spec.preopens =
            vec![Preopen { host: folder.path().to_owned(), guest: "/data".to_owned(), writable }];
        spec
    };
    assert_eq!(run(granted(false, &["read", "/data/file"])).await.unwrap(), 0);
    assert_eq!(run(granted(false, &["read", "/data/../etc/passwd"])).await.unwrap(), 1);
    assert_eq!(run(granted(false, &["write", "/data/file", "new"])).await.unwrap(), 1);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
    assert_eq!(run(granted(true, &["write", "/data/file", "new"])).await.unwrap(), 0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
    assert_eq!(run(command(&["read", "/data/file"])).await.unwrap(), 1);
    assert_eq!(run(command(&["read", &file.to_string_lossy()])).await.unwrap(), 1);
}

#[tokio::test]
async fn a_command_connects_to_the_sockets_it_is_granted_and_no_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connect = ["connect", &address.to_string()];
    assert_eq!(run(command(&connect)).await.unwrap(), 1);
    let mut granted = command(&connect);
    granted.network.sockets = vec![address.to_string().parse().unwrap()];
    assert_eq!(run(granted).await.unwrap(), 0);
    let mut other = command(&connect);
    other.network.sockets =
        vec![format!("{}:{}", address.ip(), address.port() ^ 1).parse().unwrap()];
    assert_eq!(run(other).await.unwrap(), 1);
}

#[tokio::test]
async fn names_are_looked_up_only_where_granted() {
    assert_eq!(run(command(&["resolve", "localhost"])).await.unwrap(), 1);
    let mut granted = command(&["resolve", "localhost"]);
    granted.network.name_lookup = vec!["localhost".parse().unwrap()];
    assert_eq!(run(granted).await.unwrap(), 0);
}
