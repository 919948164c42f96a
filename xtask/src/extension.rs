//! Builds native extensions, checks what their files say of themselves, and installs them.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use object::{Object as _, ObjectSection as _};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{
    cargo::{self, Artifact},
    say,
    sections::{METADATA_SECTION, WORLD_SECTION},
    workspace::{Package, Workspace},
};

/// What an extension's file says of itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) version: String,
    abi: String,
    panic: String,
}

/// An extension in a plugins folder.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) file: PathBuf,
    pub(crate) digest: String,
}

/// The extensions that can be built by name, shipped ones first.
pub(crate) fn all(workspace: &Workspace) -> Vec<&Package> {
    workspace.shipped_extensions().chain(workspace.fixture_extensions()).collect()
}

/// Builds an extension in the release profile and answers with its library.
pub(crate) fn build_release(workspace: &Workspace, extension: &Package) -> Result<PathBuf> {
    say::step(&format!("building the extension {}, optimised", extension.folder_name()));
    // The shared library alone: cargo skips link-time optimisation where an rlib is made too.
    let mut rustc = cargo::command(workspace);
    rustc.args(["rustc", cargo::JSON, "--release", "--lib", "--crate-type", "cdylib"]);
    let artifacts = cargo::compile(rustc.args(["-p", &extension.name]))?;
    library(&artifacts, extension)
}

/// The library of that extension among what a build made.
pub(crate) fn library(artifacts: &[Artifact], extension: &Package) -> Result<PathBuf> {
    artifacts
        .iter()
        .filter(|artifact| artifact.is_of(extension) && !artifact.profile.test)
        .find_map(|artifact| artifact.file("so"))
        .cloned()
        .with_context(|| {
            format!(
                "the build of `{}` left no shared library; its Cargo.toml needs \
                 `crate-type = [\"cdylib\", \"rlib\"]` under [lib]",
                extension.name
            )
        })
}

/// Reads the metadata of a library and checks it, without opening the library.
pub(crate) fn check(
    workspace: &Workspace,
    extension: &Package,
    library: &Path,
) -> Result<Metadata> {
    let bytes = fs::read(library).with_context(|| format!("cannot read {}", library.display()))?;
    let metadata = read(&bytes).with_context(|| {
        format!("{} is not an extension; does its source have `export!`?", library.display())
    })?;
    let (name, abi) = (extension.folder_name(), &workspace.package("backplane-abi")?.version);
    ensure!(metadata.name == name, "the extension in {name}/ calls itself `{}`", metadata.name);
    ensure!(
        metadata.version == extension.version,
        "`{name}` says it has version {}, its Cargo.toml says {}",
        metadata.version,
        extension.version
    );
    ensure!(metadata.abi == *abi, "`{name}` has ABI {}, this workspace is {abi}", metadata.abi);
    ensure!(
        metadata.panic == "unwind",
        "`{name}` is built with panic = \"{}\"; the host needs \"unwind\", or a panic in the \
         extension would end the host",
        metadata.panic
    );
    Ok(metadata)
}

/// The metadata in the bytes of a library.
fn read(bytes: &[u8]) -> Result<Metadata> {
    let file = object::File::parse(bytes).context("it is not an ELF file")?;
    let section = |name: &str| -> Result<&[u8]> {
        let section =
            file.section_by_name(name).with_context(|| format!("it has no section {name}"))?;
        section.data().with_context(|| format!("its section {name} cannot be read"))
    };
    if section(WORLD_SECTION)?.is_empty() {
        bail!("its section {WORLD_SECTION} is empty");
    }
    serde_json::from_slice(section(METADATA_SECTION)?)
        .with_context(|| format!("its section {METADATA_SECTION} does not hold what it should"))
}

/// Puts a library into a plugins folder as `NAME.so`: whole or not at all, mode 0755.
pub(crate) fn install(library: &Path, name: &str, folder: &Path) -> Result<Installed> {
    install_as(library, &format!("{name}.so"), folder)
}

/// Puts a component into a plugins folder as `NAME.wasm`, likewise.
pub(crate) fn install_component(component: &Path, name: &str, folder: &Path) -> Result<Installed> {
    install_as(component, &format!("{name}.wasm"), folder)
}

fn install_as(library: &Path, file: &str, folder: &Path) -> Result<Installed> {
    let bytes = fs::read(library).with_context(|| format!("cannot read {}", library.display()))?;
    let file = folder.join(file);
    write(&bytes, &file, folder).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(Installed { file, digest: format!("sha256:{}", hex::encode(Sha256::digest(&bytes))) })
}

fn write(bytes: &[u8], file: &Path, folder: &Path) -> Result<()> {
    // The host refuses a plugins folder that others may write.
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let mut partial = tempfile::NamedTempFile::new_in(folder)?;
    partial.write_all(bytes)?;
    partial.as_file().set_permissions(fs::Permissions::from_mode(0o755))?;
    partial.as_file().sync_all()?;
    partial.persist(file)?;
    Ok(())
}
