//! Where everything is, as cargo tells it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// The package of the fuzz targets.
pub(crate) const FUZZ: &str = "backplane-fuzz";

/// The workspace and its packages.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
    packages: Vec<Package>,
}

/// A member of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        let asked = Command::new(cargo())
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .current_dir(manifest_dir())
            .output()
            .context("cannot run `cargo metadata`")?;
        if !asked.status.success() {
            bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&asked.stderr).trim());
        }
        serde_json::from_slice(&asked.stdout).context("cannot read what `cargo metadata` printed")
    }

    /// What runs in a component: built for wasm alone.
    pub(crate) fn guest_side(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.is_guest_side(package))
    }

    /// The components among them; the rest are libraries of theirs.
    pub(crate) fn guests(&self) -> impl Iterator<Item = &Package> {
        self.guest_side().filter(|package| package.is_cdylib())
    }

    /// Everything else, but for what is built to be fuzzed.
    pub(crate) fn host_side(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| !self.is_guest_side(package) && package.name != FUZZ)
    }

    /// The native extensions that are shipped.
    pub(crate) fn shipped_extensions(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.is_in(package, "extensions") && !self.is_component(package))
    }

    /// The extensions that are shipped and are components: nothing links them, so that they are no Rust library.
    pub(crate) fn component_extensions(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.is_component(package))
    }

    fn is_component(&self, package: &Package) -> bool {
        self.is_in(package, "extensions") && !package.is_rust_library()
    }

    /// The extensions that only tests load.
    pub(crate) fn fixture_extensions(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.is_in(package, "tests/extensions") && package.is_cdylib())
    }

    /// The package of that name.
    pub(crate) fn package(&self, name: &str) -> Result<&Package> {
        self.packages
            .iter()
            .find(|package| package.name == name)
            .with_context(|| format!("the workspace has no package `{name}`"))
    }

    fn is_guest_side(&self, package: &Package) -> bool {
        self.is_in(package, "examples")
            || self.is_in(package, "tests/components")
            || self.is_component(package)
    }

    /// Whether the package stands directly in that folder.
    fn is_in(&self, package: &Package, folder: &str) -> bool {
        package.folder().parent() == Some(self.root.join(folder).as_path())
    }
}

impl Package {
    /// The folder of its manifest.
    pub(crate) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    /// The name of that folder; a guest or an extension goes by it.
    pub(crate) fn folder_name(&self) -> &str {
        self.folder().file_name().and_then(|name| name.to_str()).unwrap_or(&self.name)
    }

    /// Whether it is a library that Rust code links, and so has examples to test.
    pub(crate) fn is_rust_library(&self) -> bool {
        ["lib", "rlib", "proc-macro"].iter().any(|wanted| self.has_crate_type(wanted))
    }

    fn is_cdylib(&self) -> bool {
        self.has_crate_type("cdylib")
    }

    fn has_crate_type(&self, wanted: &str) -> bool {
        self.targets.iter().flat_map(|target| &target.crate_types).any(|has| has == wanted)
    }
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> String {
    env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// `xtask/`; what cargo says now, because a shared target folder may hold another clone's binary.
fn manifest_dir() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), Into::into)
}
