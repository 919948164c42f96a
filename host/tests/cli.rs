//! The program as its user meets it: exit codes, standard output and standard error.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Command, Output, Stdio},
};

/// The program, started in `folder` without any setting of the caller's.
fn backplane(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backplane"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BACKPLANE_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).stdin(Stdio::null());
    command
}

fn folder(toml: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("backplane.toml"), toml).unwrap();
    folder
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn assert_exit(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "stdout: {}\nstderr: {}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn config_shows_each_value_and_where_it_came_from() {
    let folder = folder("[http]\nlisten = \"127.0.0.1:1\"\n");
    let output = backplane(folder.path())
        .env("BACKPLANE_LIMITS__CPU", "9s")
        .args(["config", "--log-level", "debug"])
        .output()
        .unwrap();
    assert_exit(&output, 0);
    let lines: Vec<_> = text(&output.stdout)
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for line in [
        "listen = \"127.0.0.1:1\" # backplane.toml:2:1",
        "cpu = \"9s\" # environment variable BACKPLANE_LIMITS__CPU",
        "level = \"debug\" # flag --log-level",
        "memory = \"128MiB\" # default",
    ] {
        assert!(lines.iter().any(|l| l == line), "no `{line}` in {lines:#?}");
    }
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn config_as_json_and_its_schema_are_valid_json() {
    let folder = folder("data = \"d\"\n");
    let output = backplane(folder.path()).args(["config", "--json"]).output().unwrap();
    assert_exit(&output, 0);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["config"]["data"], "d");
    assert_eq!(
        json["origins"]["data"],
        serde_json::json!({
            "from": "file", "file": "backplane.toml", "line": 1, "column": 1
        })
    );

    let output = backplane(folder.path()).args(["config", "--schema"]).output().unwrap();
    assert_exit(&output, 0);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["properties"]["http"].is_object());
}

#[test]
fn secrets_are_not_printed() {
    let folder = folder("[extensions.x.config]\ntoken = \"hunter2\"\nurl = \"a://u:hunter2@h\"\n");
    for arguments in [&["config"][..], &["config", "--json"]] {
        let output = backplane(folder.path()).args(arguments).output().unwrap();
        assert_exit(&output, 0);
        assert!(text(&output.stdout).contains("***"));
        assert!(!text(&output.stdout).contains("hunter2"), "{}", text(&output.stdout));
    }
}

#[test]
fn a_fault_in_the_configuration_ends_every_command_with_exit_code_2() {
    let folder = folder("[htp]\nlisten = 1\n");
    for arguments in [
        &["config"][..],
        &["config", "--json"],
        &["extensions"],
        &["inspect", "x.wasm"],
        &["run", "x.wasm"],
        &["host"],
    ] {
        let output = backplane(folder.path()).args(arguments).output().unwrap();
        assert_exit(&output, 2);
        let stderr = text(&output.stderr);
        assert!(
            stderr.starts_with("error: unknown key `htp`\n  --> backplane.toml:1:2\n"),
            "{arguments:?}: {stderr}"
        );
        assert!(stderr.ends_with("  help: did you mean `http`?\n"), "{stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn the_file_can_be_named_by_flag_or_variable_and_must_exist() {
    let folder = folder("");
    fs::write(folder.path().join("other.toml"), "[log]\nlevel = \"trace\"\n").unwrap();
    let config = |command: &mut Command| command.arg("config").output().unwrap();
    let by_flag = config(backplane(folder.path()).args(["--config", "other.toml"]));
    let by_variable = config(backplane(folder.path()).env("BACKPLANE_CONFIG", "other.toml"));
    for output in [by_flag, by_variable] {
        assert_exit(&output, 0);
        assert!(text(&output.stdout).contains("# other.toml:2:1"), "{}", text(&output.stdout));
    }
    let output = config(backplane(folder.path()).args(["--config", "none.toml"]));
    assert_exit(&output, 2);
    assert!(text(&output.stderr).contains("--> none.toml"), "{}", text(&output.stderr));
}

#[test]
fn bad_usage_ends_with_exit_code_2_and_help_with_0() {
    let folder = folder("");
    for arguments in [
        &[][..],
        &["rnu"],
        &["run"],
        &["inspect"],
        &["config", "--yaml"],
        &["run", "x.wasm", "--env", "X"],
        &["run", "x.wasm", "--dir", "::"],
    ] {
        let output = backplane(folder.path()).args(arguments).output().unwrap();
        assert_exit(&output, 2);
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["run", "--help"]] {
        let output = backplane(folder.path()).args(arguments).output().unwrap();
        assert_exit(&output, 0);
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_flag_at_fault_is_named() {
    let folder = folder("");
    let output =
        backplane(folder.path()).args(["run", "x.wasm", "--listen", "localhost"]).output().unwrap();
    assert_exit(&output, 2);
    assert!(
        text(&output.stderr).starts_with(
            "error: `http.listen[0]`: `localhost` is not an address\n  --> flag --listen\n"
        ),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = folder("");
    let mut child = backplane(folder.path())
        .args(["config", "--schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}
