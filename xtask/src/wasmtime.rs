//! The command line of wasmtime, which benchmarks have as their baseline.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{cargo, say, workspace::Workspace};

/// What is switched on of it: serving and compiling, and of the runtime what our host has. What it
/// would do besides could only make it slower.
const FEATURES: &str = "run,serve,compile,cache,backtrace,demangle,parallel-compilation,\
                        pooling-allocator,component-model,component-model-async";

/// The `wasmtime` of the version that the host is made of: one that was installed into the target folder
/// before, else one that is installed there now.
pub(crate) fn find_or_install(workspace: &Workspace) -> Result<PathBuf> {
    let wanted = locked_version(workspace)?;
    // Named by how it is built, so that one that was built otherwise is not taken for it.
    let root = workspace.target.join("tools/wasmtime-lto");
    let installed = root.join("bin/wasmtime");
    if is(&installed, &wanted) {
        return Ok(installed);
    }
    install(workspace, &wanted, &root)?;
    ensure!(is(&installed, &wanted), "{} is not wasmtime {wanted}", installed.display());
    Ok(installed)
}

/// Which wasmtime the host is made of.
fn locked_version(workspace: &Workspace) -> Result<String> {
    let file = workspace.root.join("Cargo.lock");
    let lock =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"wasmtime\"").skip(1);
    let version = lines.next().and_then(|line| line.strip_prefix("version = \""));
    let version = version.and_then(|version| version.strip_suffix('"'));
    Ok(version.with_context(|| format!("{} has no wasmtime", file.display()))?.to_owned())
}

/// Whether the file is the command line of that version: `wasmtime 48.0.8`, with more behind it where
/// it was built from a repository.
fn is(file: &Path, version: &str) -> bool {
    let said = Command::new(file).arg("--version").output();
    said.is_ok_and(|said| {
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        said.split_whitespace().take(2).eq(["wasmtime", version])
    })
}

fn install(workspace: &Workspace, version: &str, root: &Path) -> Result<()> {
    say::step(&format!("installing wasmtime-cli {version} into {}", root.display()));
    say::note("this compiles wasmtime once more: 20 minutes or so on two cores; once only");
    let mut install = cargo::command(workspace);
    install
        .args(["install", "wasmtime-cli", "--locked", "--no-default-features"])
        .args(["--version", &format!("={version}"), "--features", FEATURES])
        .arg("--root")
        .arg(root)
        .arg("--target-dir")
        .arg(root.join("build"))
        // As the host is built, and as wasmtime's own profile `fastest-runtime` is.
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
    cargo::run(&mut install)
}
