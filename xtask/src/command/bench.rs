//! `bench`: a benchmark, built and run in the release profile.

use std::{
    path::{Path, absolute},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::test::{BINARY, COMPONENTS, EXTENSIONS};
use crate::{
    cargo::{self, Profile},
    extension, guests, host, say, wasmtime,
    workspace::Workspace,
};

/// The package that has them all.
const PACKAGE: &str = "backplane-bench";

/// Those that run the host's binary against wasmtime's command line, and where they find that.
const OF_SERVERS: [&str; 2] = ["http", "start"];
const WASMTIME: &str = "WASMTIME";

pub(crate) fn run(
    workspace: &Workspace,
    name: &str,
    json: Option<&Path>,
    rest: &[String],
) -> Result<()> {
    let json = json
        .map(|file| absolute(file).with_context(|| format!("cannot use {}", file.display())))
        .transpose()?;
    let components = guests::build(workspace, workspace.guests())?;

    say::step("building the host and the benchmark, optimised");
    cargo::warn_of_first_build(workspace, Profile::Release);
    let bench = workspace.package(PACKAGE)?;
    let host = workspace.package(host::PACKAGE)?;
    let mut arguments: Vec<_> = Profile::Release.arguments().to_vec();
    arguments.extend(["--bins", "-p", &bench.name]);
    let needs_servers = OF_SERVERS.contains(&name);
    if needs_servers {
        arguments.extend(["-p", &host.name]);
    }
    let artifacts = cargo::build(workspace, arguments)?;
    let folder = workspace.target.join("extensions-release");
    for extension in extension::all(workspace) {
        let library = extension::build_release(workspace, extension)?;
        extension::install(&library, extension.folder_name(), &folder)?;
    }
    let binary = artifacts
        .iter()
        .filter(|artifact| artifact.is_of(bench))
        .find_map(|artifact| artifact.executable.as_ref())
        .context("the build of the benchmark left no binary")?;

    let mut command = Command::new(binary);
    if needs_servers {
        command.env(BINARY, host::binary(&artifacts, host)?);
        command.env(WASMTIME, wasmtime::find_or_install(workspace)?);
    }
    say::step(&format!("running the benchmark {name}"));
    command.arg(name);
    if let Some(json) = &json {
        command.arg("--json").arg(json);
    }
    command.args(rest).env(COMPONENTS, components).env(EXTENSIONS, folder);
    cargo::run(&mut command)
}
