//! What a file says of itself: arbitrary bytes as a library, and as the world in one.

#![no_main]
#![allow(missing_docs, reason = "the macro's items")]

use backplane::provider::{metadata::Library, world};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    drop(Library::read(bytes));
    if let Ok(mut world) = world::read(bytes) {
        drop(world::add_alias(&mut world.offers, "a:b/c@1.0.0", "probe:types/echo@1.0.0"));
    }
});
