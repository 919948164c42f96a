//! `lint`: what must hold of every commit besides the tests.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cargo,
    guests::{self, TARGET},
    say,
    workspace::Workspace,
};

/// What the host must never know by name.
const PLUGGABLE: [&str; 3] = ["keyvalue", "blobstore", "messaging"];

/// The crates whose documentation others read.
const DOCUMENTED: [&str; 5] =
    ["backplane", "backplane-sdk", "backplane-abi", "backplane-wire", "backplane-macros"];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    say::step("format");
    cargo::run(cargo::command(workspace).args(["fmt", "--all", "--check"]))?;

    say::step("the host names no pluggable interface");
    let mut found = Vec::new();
    pluggable_names(&workspace.root.join("host/src"), &mut found)?;
    ensure!(
        found.is_empty(),
        "the host must not know what is plugged into it:\n  {}",
        found.join("\n  ")
    );

    say::step("clippy on what runs on the host");
    cargo::warn_of_first_build(workspace, cargo::Profile::Dev);
    let mut clippy = cargo::command(workspace);
    clippy.args(["clippy", cargo::JSON, "--all-targets"]);
    clippy.args(cargo::select(workspace.host_side()));
    cargo::compile(clippy.args(["--", "-D", "warnings"]))?;

    say::step("clippy on the guests");
    guests::require_target()?;
    let mut clippy = cargo::command(workspace);
    clippy.args(["clippy", cargo::JSON, "--target", TARGET]);
    clippy.args(cargo::select(workspace.guest_side()));
    cargo::compile(clippy.args(["--", "-D", "warnings"]))?;

    say::step("documentation");
    let mut doc = cargo::command(workspace);
    doc.args(["doc", cargo::JSON, "--no-deps"]);
    doc.args(DOCUMENTED.iter().flat_map(|name| ["-p", *name]));
    cargo::compile(doc.env("RUSTDOCFLAGS", "-D warnings"))?;

    say::step("licences, sources and duplicates of dependencies");
    if has_deny(workspace) {
        // Advisories change without a commit, and need the network: `cargo deny check advisories`.
        let checks = ["deny", "check", "bans", "licenses", "sources"];
        cargo::run(cargo::command(workspace).args(checks))
    } else {
        say::note("NOT CHECKED: cargo-deny is missing; `cargo install --locked cargo-deny`");
        Ok(())
    }
}

fn has_deny(workspace: &Workspace) -> bool {
    let mut command = cargo::command(workspace);
    command.args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Adds every line under `folder` that names a pluggable interface, as `FILE:LINE: TEXT`.
fn pluggable_names(folder: &Path, found: &mut Vec<String>) -> Result<()> {
    let unreadable = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            pluggable_names(&path, found)?;
            continue;
        }
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for (number, line) in String::from_utf8_lossy(&text).lines().enumerate() {
            let lower = line.to_lowercase();
            if PLUGGABLE.iter().any(|name| lower.contains(name)) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pluggable_interface_is_found_in_any_spelling_and_depth() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("a.rs"), "fn fine() {}\n").unwrap();
        fs::write(folder.path().join("inner/b.rs"), "\nuse wasi::KeyValue;\n").unwrap();
        let mut found = Vec::new();
        pluggable_names(folder.path(), &mut found).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("inner/b.rs:2: use wasi::KeyValue;"), "{found:?}");
    }
}
