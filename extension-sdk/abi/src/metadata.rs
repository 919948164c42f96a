//! What an extension's file says of itself, readable without opening the library.
//!
//! `export!` emits two sections. A host reads them from the file, refuses what does not fit, and only
//! then runs any of its code.

/// The ELF section (and, with the leading dot taken off, the wasm custom section) that holds the
/// metadata: one JSON object with the string members `name`, `version`, `abi` (the version of this
/// crate) and `panic` (`unwind` or `abort`), and `aliases`, an array of `[alias, interface]` pairs.
/// A reader ignores members that it does not know.
pub const METADATA_SECTION: &str = ".backplane.metadata";

/// The section that holds the WIT world the extension was built against, as a binary-encoded WIT
/// package of which the world is the only one. The world's *exports* are what the extension provides.
pub const WORLD_SECTION: &str = ".backplane.world";
