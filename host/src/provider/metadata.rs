//! What an extension's file says of itself, read without opening the library.

use std::path::Path;

use backplane_abi::{ABI_VERSION, METADATA_SECTION, WORLD_SECTION};
use object::{Object, ObjectSection, read::elf::ElfFile64};
use semver::Version;
use serde::{Deserialize, Serialize};

use super::Offer;
use super::world::{self, World, WorldError};

/// What a file says of itself.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Metadata {
    /// The extension's name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// The version of the ABI that it was built with.
    pub abi: String,
    /// `unwind` or `abort`.
    pub panic: String,
    /// Other names for interfaces that it provides: `(alias, interface)`.
    #[serde(default)]
    pub aliases: Vec<(String, String)>,
}

/// A file that was read and fits this host.
#[derive(Debug, Clone)]
pub struct Library {
    /// What the file says of itself.
    pub metadata: Metadata,
    /// The interfaces that it provides.
    pub offers: Vec<Offer>,
    /// The interfaces that it calls of a workload.
    pub calls: Vec<Offer>,
    /// The newest glibc symbol version that it needs.
    pub glibc: Option<String>,
    /// What it is.
    pub kind: Kind,
}

/// The kinds of extension that the host loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A shared library, with the host's own privileges.
    Native,
    /// A component, in stores of its own.
    Component,
}

/// Why a file is refused. Nothing of it has run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}; make it readable for the user that runs the host")]
    Unreadable(#[source] std::io::Error),
    /// It is no ELF shared library.
    #[error("it is not a shared library (ELF): {0}; build it with `cargo xtask build-extension`")]
    NotALibrary(String),
    /// It is WebAssembly, and no component.
    #[error(
        "it is no component that the host can read: {0}; build it for `wasm32-wasip2`, or as a component by its language's tools"
    )]
    NotAComponent(#[source] WorldError),
    /// Its table has what is for components alone.
    #[error(
        "it is a shared library, which has the host's own privileges, and `{0}` in its table is for components alone; remove that, or use the extension as a component"
    )]
    NotSandboxed(&'static str),
    /// It is for another machine.
    #[error("it is built for {found}, this host runs on {wanted}; build it for {wanted}")]
    WrongArchitecture {
        /// The file's.
        found: String,
        /// The host's.
        wanted: &'static str,
    },
    /// It has no metadata section.
    #[error(
        "it is a shared library but not a Backplane extension (no `{METADATA_SECTION}` section); export one with `backplane_sdk::export!`, or move the file out of the plugins folder"
    )]
    NotAnExtension,
    /// Its metadata cannot be read.
    #[error("its metadata is malformed: {0}; build it again with a current backplane-sdk")]
    BadMetadata(String),
    /// It has another ABI.
    #[error(
        "it was built for ABI {found}, this host has ABI {ABI_VERSION}; build it with a backplane-sdk of ABI {wanted}.x"
    )]
    WrongAbi {
        /// The file's.
        found: String,
        /// The host's major version.
        wanted: u64,
    },
    /// It aborts on a panic.
    #[error(
        "it was built with `panic = \"{0}\"`, so a fault in it would end the host; build it with `panic = \"unwind\"`"
    )]
    Aborts(String),
    /// It needs a newer C library.
    #[error(
        "it needs glibc {needed}, this machine has {have}; build it on an older system, or update this one"
    )]
    NewerGlibc {
        /// The file's.
        needed: String,
        /// The machine's.
        have: String,
    },
    /// Its WIT world cannot be read.
    #[error("its WIT world is malformed: {0}; build it again with a current backplane-sdk")]
    BadWorld(#[source] WorldError),
    /// Its digest is not the pinned one.
    #[error(
        "its digest is {found}, the config pins {pinned}; if the change is wanted, set `digest = \"{found}\"`"
    )]
    Changed {
        /// The file's.
        found: crate::name::Digest,
        /// The config's.
        pinned: crate::name::Digest,
    },
    /// The system's loader refused it.
    #[error("it cannot be loaded: {0}")]
    Unloadable(String),
    /// It failed to start.
    #[error("it refused its config: {0}")]
    BadConfig(String),
}

impl Library {
    /// Reads what `bytes`, the content of a library file, say of it.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when this host cannot load it.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let elf = ElfFile64::<object::Endianness>::parse(bytes)
            .map_err(|error| Refusal::NotALibrary(error.to_string()))?;
        check_architecture(&elf)?;
        let section = |name| elf.section_by_name(name).and_then(|s| s.data().ok());
        let metadata = section(METADATA_SECTION).ok_or(Refusal::NotAnExtension)?;
        let metadata: Metadata = serde_json::from_slice(trim(metadata))
            .map_err(|error| Refusal::BadMetadata(error.to_string()))?;
        check_abi(&metadata.abi)?;
        if metadata.panic != "unwind" {
            return Err(Refusal::Aborts(metadata.panic));
        }
        let glibc = newest_glibc(&elf);
        check_glibc(glibc.as_deref())?;
        let world = section(WORLD_SECTION)
            .ok_or_else(|| Refusal::BadMetadata(format!("no `{WORLD_SECTION}` section")))?;
        let World { mut offers, calls } = world::read(world).map_err(Refusal::BadWorld)?;
        for (alias, interface) in &metadata.aliases {
            world::add_alias(&mut offers, alias, interface).map_err(Refusal::BadWorld)?;
        }
        Ok(Self { metadata, offers, calls, glibc, kind: Kind::Native })
    }

    /// Reads what a file says of itself, a shared library or a component: that goes by the file's name, and what it
    /// provides is read from its types.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when this host cannot load it.
    pub fn of_file(file: &Path, bytes: &[u8]) -> Result<Self, Refusal> {
        if !bytes.starts_with(b"\0asm") {
            return Self::read(bytes);
        }
        let offers = world::of_component(bytes).map_err(Refusal::NotAComponent)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let metadata = Metadata {
            name,
            version: String::new(),
            abi: "component".to_owned(),
            panic: "unwind".to_owned(),
            aliases: Vec::new(),
        };
        Ok(Self { metadata, offers, calls: Vec::new(), glibc: None, kind: Kind::Component })
    }

    /// Reads a library file.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when this host cannot load it.
    pub fn open(file: &Path) -> Result<Self, Refusal> {
        Self::of_file(file, &std::fs::read(file).map_err(Refusal::Unreadable)?)
    }
}

/// The section's JSON, without the zeroes that a linker may pad it with.
fn trim(section: &[u8]) -> &[u8] {
    let end = section.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    section.get(..end).unwrap_or_default()
}

fn check_architecture(elf: &ElfFile64<'_, object::Endianness>) -> Result<(), Refusal> {
    let wanted = match std::env::consts::ARCH {
        "x86_64" => object::Architecture::X86_64,
        "aarch64" => object::Architecture::Aarch64,
        "riscv64" => object::Architecture::Riscv64,
        _ => return Ok(()),
    };
    if elf.architecture() == wanted {
        return Ok(());
    }
    Err(Refusal::WrongArchitecture {
        found: format!("{:?}", elf.architecture()).to_lowercase(),
        wanted: std::env::consts::ARCH,
    })
}

fn check_abi(found: &str) -> Result<(), Refusal> {
    let host = Version::parse(ABI_VERSION).map_or(0, |version| version.major);
    match Version::parse(found) {
        Ok(version) if version.major == host => Ok(()),
        _ => Err(Refusal::WrongAbi { found: found.to_owned(), wanted: host }),
    }
}

/// The newest `GLIBC_x.y` that a library names: of those it needs, or, in the C library itself, of
/// those it has. The names stand in the dynamic string table, which is searched whole.
fn newest_glibc(elf: &ElfFile64<'_, object::Endianness>) -> Option<String> {
    let strings = elf.section_by_name(".dynstr")?.data().ok()?;
    strings
        .split(|byte| *byte == 0)
        .filter_map(|name| std::str::from_utf8(name).ok()?.strip_prefix("GLIBC_"))
        .filter(|version| numbers(version).is_some())
        .max_by_key(|version| numbers(version))
        .map(str::to_owned)
}

fn check_glibc(needed: Option<&str>) -> Result<(), Refusal> {
    let (Some(needed), Some(have)) = (needed, system_glibc()) else { return Ok(()) };
    if numbers(needed) > numbers(&have) {
        return Err(Refusal::NewerGlibc { needed: needed.to_owned(), have });
    }
    Ok(())
}

/// This machine's glibc, from the library that this process maps.
fn system_glibc() -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .find(|path| path.ends_with("/libc.so.6"))?;
    let library = std::fs::read(path).ok()?;
    newest_glibc(&ElfFile64::parse(library.as_slice()).ok()?)
}

fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}
