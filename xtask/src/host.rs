//! The host's binary.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    cargo::{self, Artifact, Profile},
    say,
    workspace::{Package, Workspace},
};

/// The package of the host.
const PACKAGE: &str = "backplane";

/// Builds the host in the profile of the tests and answers with its binary.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    say::step("building the host");
    cargo::warn_of_first_build(workspace, Profile::Dev);
    let artifacts = cargo::build(workspace, ["-p", PACKAGE, "--bin", PACKAGE])?;
    binary(&artifacts, workspace.package(PACKAGE)?)
}

/// The host's binary among what a build made.
pub(crate) fn binary(artifacts: &[Artifact], host: &Package) -> Result<PathBuf> {
    artifacts
        .iter()
        .filter(|artifact| artifact.is_of(host) && !artifact.profile.test)
        .find_map(|artifact| artifact.executable.clone())
        .context("the build of the host left no binary")
}

/// Runs the host with the settings of its files and flags alone.
pub(crate) fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BACKPLANE_") {
            command.env_remove(name);
        }
    }
    command
}
