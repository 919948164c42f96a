//! The names of an extension's sections.
//!
//! The file of `backplane-abi` that has them, and not the crate: it would bring `abi_stable`, and
//! `cargo xtask` has to build in seconds.

#[path = "../../extension-sdk/abi/src/metadata.rs"]
#[expect(unreachable_pub, reason = "public in the crate that it belongs to")]
mod metadata;

pub(crate) use metadata::{METADATA_SECTION, WORLD_SECTION};
