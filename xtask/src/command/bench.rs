//! `bench`: a benchmark, built and run in the release profile.

use std::path::{Path, absolute};

use anyhow::{Context as _, Result};

use super::test::{COMPONENTS, EXTENSIONS};
use crate::{
    cargo::{self, Profile},
    extension, guests, say,
    workspace::Workspace,
};

/// The package that has them all.
const PACKAGE: &str = "backplane-bench";

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

    say::step("building the extensions, optimised");
    let extensions = extension::all(workspace);
    let libraries = extension::build(workspace, &extensions, Profile::Release)?;
    let folder = workspace.target.join("extensions-release");
    for (extension, library) in extensions.iter().zip(&libraries) {
        extension::install(library, extension.folder_name(), &folder)?;
    }

    say::step(&format!("building and running the benchmark {name}"));
    cargo::warn_of_first_build(workspace, Profile::Release);
    let mut command = cargo::command(workspace);
    command.args(["run", "--release", "-p", PACKAGE, "--", name]);
    if let Some(json) = &json {
        command.arg("--json").arg(json);
    }
    command.args(rest).env(COMPONENTS, components).env(EXTENSIONS, folder);
    cargo::run(&mut command)
}
