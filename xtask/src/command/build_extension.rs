//! `build-extension`: from an extension's source to a file that a host loads.

use std::path::{Path, absolute};

use anyhow::{Context as _, Result};

use crate::{
    cargo::{self, Profile},
    extension, host, say,
    usage::UsageError,
    workspace::Workspace,
};

pub(crate) fn run(
    workspace: &Workspace,
    name: &str,
    release: bool,
    out: Option<&Path>,
) -> Result<()> {
    let known = extension::all(workspace);
    let Some(&package) = known.iter().find(|package| package.folder_name() == name) else {
        let names: Vec<_> = known.iter().map(|package| package.folder_name()).collect();
        return Err(UsageError::unknown("extension", name, &names));
    };
    let folder = match out {
        Some(out) => absolute(out).with_context(|| format!("cannot use {}", out.display()))?,
        None => workspace.root.join("plugins"),
    };

    let host = host::build(workspace)?;
    let profile = if release { Profile::Release } else { Profile::Dev };
    say::step(&format!("building the extension {name}"));
    let library = match extension::build(workspace, &[package], profile)?.pop() {
        Some(library) => library,
        None => anyhow::bail!("the build of `{name}` left nothing"),
    };

    say::step("reading its metadata, and loading it");
    let metadata = extension::check(workspace, package, &library)?;
    cargo::run(host::command(&host).arg("inspect").arg(&library).arg("--json").stdout(null()))
        .with_context(|| format!("the host does not load {}", library.display()))?;

    let installed = extension::install(&library, name, &folder)?;
    println!("{}", installed.file.display());
    println!("{} {}", metadata.name, metadata.version);
    println!("{}", installed.digest);
    println!();
    println!("To enable it, in backplane.toml:");
    println!();
    println!("enable = [\"{name}\"]    # before the first table");
    println!();
    println!("[extensions.{name}]");
    println!("digest = \"{}\"    # refuse any other file", installed.digest);
    Ok(())
}

fn null() -> std::process::Stdio {
    std::process::Stdio::null()
}
