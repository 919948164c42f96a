//! `build-extension`: from an extension's source to a file that a host loads.

use std::{
    fs,
    path::{Path, absolute},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::{
    extension::{self, Installed},
    guests,
    host::{self, Built, Running},
    say,
    usage::UsageError,
    workspace::{Package, Workspace},
};

pub(crate) fn run(
    workspace: &Workspace,
    name: &str,
    release: bool,
    out: Option<&Path>,
) -> Result<()> {
    let folder = match out {
        Some(out) => absolute(out).with_context(|| format!("cannot use {}", out.display()))?,
        None => workspace.root.join("plugins"),
    };
    let is_it = |package: &&Package| package.folder_name() == name;
    if let Some(package) = workspace.component_extensions().find(is_it) {
        let built = guests::build(workspace, std::iter::once(package))?;
        let component = guests::component(&built, package);
        let installed = extension::install_component(&component, name, &folder)?;
        print(&installed, name, &package.version);
        return Ok(());
    }
    let mut known = extension::all(workspace);
    let Some(&package) = known.iter().find(|package| package.folder_name() == name) else {
        known.extend(workspace.component_extensions());
        let names: Vec<_> = known.iter().map(|package| package.folder_name()).collect();
        return Err(UsageError::unknown("extension", name, &names));
    };

    let Built { binary: host, mut library } = host::build_with(workspace, package)?;
    if release {
        library = extension::build_release(workspace, package)?;
    }

    say::step("checking its metadata, and loading it");
    let metadata = extension::check(workspace, package, &library)?;
    inspect(&host, &library)?;
    load(&host, &library, name).with_context(|| format!("a host does not load `{name}`"))?;

    let installed = extension::install(&library, name, &folder)?;
    print(&installed, &metadata.name, &metadata.version);
    Ok(())
}

fn print(installed: &Installed, name: &str, version: &str) {
    println!("{}", installed.file.display());
    println!("{name} {version}");
    println!("{}", installed.digest);
    println!();
    println!("To enable it, in backplane.toml:");
    println!();
    println!("enable = [\"{name}\"]    # before the first table");
    println!();
    println!("[extensions.{name}]");
    println!("digest = \"{}\"    # refuse any other file", installed.digest);
}

/// Asks the host what it makes of the file, which does not run any of its code.
fn inspect(host: &Path, library: &Path) -> Result<()> {
    let asked = host::command(host)
        .arg("inspect")
        .arg(library)
        .arg("--json")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run the host")?;
    ensure!(asked.status.success(), "`backplane inspect` ended with {}", asked.status);
    let inspected: Inspected = serde_json::from_slice(&asked.stdout)
        .context("cannot read what `backplane inspect --json` printed")?;
    match inspected.refused {
        Some(reason) => bail!("the host refuses {}: {reason}", library.display()),
        None => Ok(()),
    }
}

/// What `inspect --json` says of an extension, as far as it matters here.
#[derive(Deserialize)]
struct Inspected {
    refused: Option<String>,
}

/// Starts a host that has nothing but the extension, with the extension's default config.
fn load(host: &Path, library: &Path, name: &str) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    extension::install(library, name, &folder.path().join("plugins"))?;
    let address = host::free_address("127.0.0.1:0")?;
    let config =
        format!("enable = [\"{name}\"]\nadmin.listen = \"off\"\n[http]\nlisten = \"{address}\"\n");
    fs::write(folder.path().join("backplane.toml"), config)?;
    let mut command = host::command(host);
    command.current_dir(folder.path()).args(["host", "--log-level", "warn"]);
    Running::start(&mut command, address)?.stop()
}
