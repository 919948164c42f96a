//! `test`: builds everything that tests need, once, and runs them.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};

use crate::{
    cargo::{self, Artifact, Profile},
    extension, guests, host, say,
    tally::Tally,
    usage::UsageError,
    workspace::{Package, Workspace},
};

/// Tells tests where the host's binary is.
pub(super) const BINARY: &str = "BACKPLANE_BIN";
/// Tells tests which folder has the guest components, as `NAME.wasm`.
pub(super) const COMPONENTS: &str = "BACKPLANE_COMPONENTS";
/// Tells tests which folder has the extensions, as `NAME.so`.
pub(super) const EXTENSIONS: &str = "BACKPLANE_EXTENSIONS";

/// What the packages under `extension-sdk/` go by, together.
const SDK: &str = "sdk";

/// Which tests to run.
struct Choice<'a> {
    packages: Vec<&'a Package>,
    /// A part of a test's name.
    filter: Option<&'a str>,
}

/// Where tests find what was built for them.
struct Environment(Vec<(&'static str, PathBuf)>);

pub(crate) fn run(workspace: &Workspace, name: Option<&str>) -> Result<()> {
    let choice = Choice::new(workspace, name);
    let components = guests::build(workspace, workspace.guests())?;

    say::step("building the host, the extensions and the tests");
    cargo::warn_of_first_build(workspace, Profile::Dev);
    // Always the same packages, whatever is run: another choice has other features, and would
    // compile dependencies again.
    let mut arguments = vec!["--lib".to_owned(), "--bins".to_owned(), "--tests".to_owned()];
    arguments.extend(cargo::select(workspace.host_side()));
    let artifacts = cargo::build(workspace, arguments)?;

    let folder = workspace.target.join("extensions");
    for extension in extension::all(workspace) {
        let library = extension::library(&artifacts, extension)?;
        extension::install(&library, extension.folder_name(), &folder)?;
    }
    let environment = Environment(vec![
        (BINARY, host::binary(&artifacts, workspace.package("backplane")?)?),
        (COMPONENTS, components),
        (EXTENSIONS, folder),
    ]);

    let tally = choice.run(workspace, &artifacts, &environment)?;
    if let (Some(filter), Tally { passed: 0, failed: 0, .. }) = (choice.filter, &tally) {
        let packages = workspace.host_side().map(Package::folder_name);
        let tests = artifacts.iter().filter(|made| made.is_test()).map(|made| &*made.target.name);
        let known: Vec<_> = packages.chain([SDK]).chain(tests).collect();
        return Err(UsageError::unknown("test or package", filter, &known));
    }
    println!("{tally}");
    if let (Some(summary), Some(_)) = (&tally.summary, choice.filter) {
        println!("{summary}");
    }
    if tally.failed > 0 {
        bail!("tests failed");
    }
    Ok(())
}

impl<'a> Choice<'a> {
    /// A name is that of a package or of its folder, `sdk` for the SDK's packages, else a filter: the name
    /// of an integration test, or a part of tests' names.
    fn new(workspace: &'a Workspace, name: Option<&'a str>) -> Self {
        let all: Vec<_> = workspace.host_side().collect();
        let Some(name) = name else { return Self { packages: all, filter: None } };
        let sdk = workspace.root.join("extension-sdk");
        let named: Vec<_> = all
            .iter()
            .copied()
            .filter(|package| match name {
                SDK => package.folder().starts_with(&sdk),
                _ => package.folder_name() == name || package.name == name,
            })
            .collect();
        if named.is_empty() {
            Self { packages: all, filter: Some(name) }
        } else {
            Self { packages: named, filter: None }
        }
    }

    fn run(
        &self,
        workspace: &Workspace,
        artifacts: &[Artifact],
        environment: &Environment,
    ) -> Result<Tally> {
        let mut tally = Tally::default();
        // All of an integration test, where the name is that of one.
        let whole = self.filter.filter(|name| {
            artifacts.iter().any(|made| made.is_test() && made.target.name == **name)
        });
        let filter = self.filter.xor(whole);
        for package in &self.packages {
            for artifact in artifacts.iter().filter(|made| made.profile.test && made.is_of(package))
            {
                let Some(binary) = &artifact.executable else { continue };
                if whole.is_some_and(|name| !(artifact.is_test() && artifact.target.name == name)) {
                    continue;
                }
                let kind = artifact.target.kind.first().map_or("test", String::as_str);
                say::step(&format!("{} ({kind} {})", package.name, artifact.target.name));
                let mut command = Command::new(binary);
                command.current_dir(package.folder()).env("CARGO_MANIFEST_DIR", package.folder());
                tally.run(&artifact.target.name, environment.give(command.args(filter)))?;
            }
        }
        if whole.is_some() {
            return Ok(tally);
        }
        self.run_doctests(workspace, environment, &mut tally)?;
        Ok(tally)
    }

    fn run_doctests(
        &self,
        workspace: &Workspace,
        environment: &Environment,
        tally: &mut Tally,
    ) -> Result<()> {
        let packages = || self.packages.iter().copied().filter(|package| package.is_rust_library());
        if packages().next().is_none() {
            return Ok(());
        }
        say::step("examples in the documentation");
        let mut command = cargo::command(workspace);
        command.args(["test", "--doc", "--no-fail-fast"]).args(cargo::select(packages()));
        tally.run("", environment.give(command.arg("--").args(self.filter)))
    }
}

impl Environment {
    fn give<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.0.iter().map(|(name, value)| (name, value)))
    }
}
