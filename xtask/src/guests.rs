//! Builds the guest components: the examples and those of the tests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cargo::{self, Profile},
    say,
    workspace::{Package, Workspace},
};

/// What guests are compiled for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// Builds these guests and puts each into `components/` in the target folder, as `NAME.wasm`;
/// answers with that folder.
///
/// One build in the release profile: guests are small, and tests and benches measure the host, not
/// an unoptimised guest.
pub(crate) fn build<'a>(
    workspace: &Workspace,
    guests: impl Iterator<Item = &'a Package>,
) -> Result<PathBuf> {
    let guests: Vec<_> = guests.collect();
    require_target()?;
    say::step(&format!("building {} guest components", guests.len()));
    let mut arguments = vec!["--target".to_owned(), TARGET.to_owned()];
    arguments.extend(Profile::Release.arguments().iter().map(|&argument| argument.to_owned()));
    arguments.extend(cargo::select(guests.iter().copied()));
    let artifacts = cargo::build(workspace, arguments)?;

    let folder = workspace.target.join("components");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for guest in guests {
        let built = artifacts
            .iter()
            .filter(|artifact| artifact.is_of(guest))
            .find_map(|artifact| artifact.file("wasm"))
            .with_context(|| format!("the build of `{}` left no .wasm file", guest.name))?;
        place(built, &component(&folder, guest))?;
    }
    Ok(folder)
}

/// Where the guest's component stands in that folder.
pub(crate) fn component(folder: &Path, guest: &Package) -> PathBuf {
    folder.join(format!("{}.wasm", guest.folder_name()))
}

/// Puts a copy there in one step, so that a host that is reading it never sees half of it.
fn place(from: &Path, to: &Path) -> Result<()> {
    let partial = to.with_extension("partial");
    fs::copy(from, &partial)
        .and_then(|_| fs::rename(&partial, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// Makes sure that the compiler has the wasm target, through rustup where it is missing.
pub(crate) fn require_target() -> Result<()> {
    if has_target()? {
        return Ok(());
    }
    say::step(&format!("adding the compiler's target {TARGET}"));
    let added = Command::new("rustup").args(["target", "add", TARGET]).status();
    if added.is_ok_and(|status| status.success()) && has_target()? {
        return Ok(());
    }
    bail!("rustc lacks the target {TARGET}: install it with `rustup target add {TARGET}`")
}

fn has_target() -> Result<bool> {
    let asked = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .context("cannot run rustc")?;
    Ok(asked.status.success() && Path::new(String::from_utf8_lossy(&asked.stdout).trim()).is_dir())
}
