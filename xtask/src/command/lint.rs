//! `lint`: what must hold of every commit besides the tests.

use std::process::Stdio;

use anyhow::Result;

use crate::{
    cargo,
    guests::{self, TARGET},
    say,
    workspace::{FUZZ, Workspace},
};

/// The crates whose documentation others read.
const DOCUMENTED: [&str; 5] =
    ["backplane", "backplane-sdk", "backplane-abi", "backplane-wire", "backplane-macros"];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    say::step("format");
    cargo::run(cargo::command(workspace).args(["fmt", "--all", "--check"]))?;

    say::step("clippy on what runs on the host");
    cargo::warn_of_first_build(workspace, cargo::Profile::Dev);
    let mut clippy = cargo::command(workspace);
    clippy.args(["clippy", cargo::JSON, "--all-targets"]);
    clippy.args(cargo::select(workspace.host_side())).args(["-p", FUZZ]);
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
