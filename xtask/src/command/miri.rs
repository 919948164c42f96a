//! `miri`: runs the code under `extension-sdk/` that is unsafe, or that unsafe code leans on, in Miri,
//! which finds undefined behaviour.
//!
//! The SDK's tests call the extension `probe` through the function pointers of its module, as the host
//! does: calls at hand and pending, cancelled and panicking ones, resources and threads.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::{cargo, say, tally::Tally, workspace::Workspace};

/// Miri is part of no other toolchain.
const TOOLCHAIN: &str = "nightly";
const COMPONENTS: [&str; 2] = ["miri", "rust-src"];

/// What is run: each a list of arguments for `cargo miri test`.
const RUNS: [&[&str]; 2] = [
    &["-p", "backplane-wire", "-p", "backplane-abi", "-p", "backplane-sdk", "--lib"],
    // The probe linked statically has the allocator of the program, which Miri can look into.
    &[
        "-p",
        "backplane-sdk",
        "-p",
        "probe",
        "--features",
        "probe/static",
        "--test",
        "probe",
        "--test",
        "generated",
    ],
];

/// Clocks, random numbers and the like are the machine's; what an extension's runtime keeps to its end
/// is no leak.
const FLAGS: &str = "-Zmiri-disable-isolation -Zmiri-ignore-leaks";

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    require_miri()?;
    let mut tally = Tally::default();
    for arguments in RUNS {
        say::step(&format!("Miri: {}", arguments.join(" ")));
        let mut command = Command::new("rustup");
        command.current_dir(&workspace.root);
        cargo::forget_who_runs(&mut command);
        command.args(["run", TOOLCHAIN, "cargo", "miri", "test", "--no-fail-fast"]).args(arguments);
        // Of its own, so that nothing else is built again.
        command.env("CARGO_TARGET_DIR", workspace.target.join("miri")).env("MIRIFLAGS", FLAGS);
        // A panic's backtrace takes Miri ten seconds and more.
        command.env("RUST_BACKTRACE", "0");
        tally.run("", &mut command)?;
    }
    println!("{tally}");
    ensure!(tally.failed == 0, "Miri found something");
    Ok(())
}

/// Adds Miri to the toolchain where it is missing.
fn require_miri() -> Result<()> {
    let mut command = Command::new("rustup");
    command.args(["component", "add", "--toolchain", TOOLCHAIN]).args(COMPONENTS);
    let added = command.output().context("cannot run rustup, which Miri comes with")?;
    if added.status.success() {
        return Ok(());
    }
    bail!(
        "Miri is missing: {}; run `rustup toolchain install {TOOLCHAIN} --component {}`",
        String::from_utf8_lossy(&added.stderr).trim(),
        COMPONENTS.join(" --component ")
    )
}
