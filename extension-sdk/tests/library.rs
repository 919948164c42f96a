//! The probe as a shared library: what stands in its file, and what differs from linking it.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::path::PathBuf;

use backplane_sdk::abi::{
    ABI_VERSION, ExtensionModuleRef, FailureCode, Level, METADATA_SECTION, WORLD_SECTION,
    abi_stable::library::lib_header_from_path,
};
use object::{Object, ObjectSection};
use support::Loaded;

/// Cargo puts the library beside the tests that depend on it.
fn file() -> PathBuf {
    let folder = std::env::current_exe().unwrap();
    folder.parent().unwrap().join("libprobe.so")
}

fn section(name: &str) -> Vec<u8> {
    let bytes = std::fs::read(file()).unwrap();
    let file = object::File::parse(bytes.as_slice()).unwrap();
    file.section_by_name(name).unwrap().data().unwrap().to_vec()
}

fn load() -> ExtensionModuleRef {
    // A test, so one library of the type: a host has to look the header up itself.
    lib_header_from_path(&file()).unwrap().init_root_module().unwrap()
}

#[test]
fn the_file_says_what_it_is_without_being_opened() {
    let metadata: serde_json::Value = serde_json::from_slice(&section(METADATA_SECTION)).unwrap();
    let expected = serde_json::json!({
        "name": "probe",
        "version": "0.1.0",
        "abi": ABI_VERSION,
        "panic": "unwind",
        "aliases": [["probe:alias/echo@1.0.0", "probe:types/echo@1.0.0"]],
    });
    assert_eq!(metadata, expected);
    let world = wit_parser::decoding::decode(&section(WORLD_SECTION)).unwrap();
    let resolve = world.resolve();
    let world = resolve.select_world(&[world.package()], None).unwrap();
    assert_eq!(resolve.worlds[world].name, "provider");
    assert_eq!(resolve.worlds[world].exports.len(), 12);
}

#[test]
fn a_loaded_library_logs_to_its_host_and_keeps_its_panics() {
    let loaded = Loaded::new(load(), r#"{"greeting": "hello"}"#).unwrap();
    let created = loaded.host.lines.lock().unwrap().pop().unwrap();
    assert_eq!((created.level, created.message.as_str()), (Level::Info, "the probe is ready"));
    assert_eq!(created.fields, [("greeting".to_owned(), "hello".to_owned())]);

    let binding = loaded.bind("{}").unwrap();
    for level in 0..5_u8 {
        binding.call::<()>("faults@1.0.0#log", &(level, "a line")).unwrap();
    }
    let lines = std::mem::take(&mut *loaded.host.lines.lock().unwrap());
    let levels: Vec<_> = lines.iter().map(|line| line.level).collect();
    // The host keeps no `Trace`.
    assert_eq!(levels, [Level::Error, Level::Warn, Level::Info, Level::Debug]);
    assert_eq!((lines[0].target.as_str(), lines[0].message.as_str()), ("probe::faults", "a line"));
    let fields = [("number".to_owned(), "1".to_owned()), ("text".to_owned(), "x".to_owned())];
    assert_eq!(lines[0].fields, fields);

    // On a thread of another tokio, the host's: the library has its own.
    assert_eq!(binding.call::<u32>("faults@1.0.0#sleep", &(1_u32,)).unwrap(), 1);
    assert_eq!(binding.call::<u32>("faults@1.0.0#spawned", &(2_u32,)).unwrap(), 2);
    let failed = binding.call::<u32>("faults@1.0.0#panic-later", &("out of cheese",)).unwrap_err();
    assert_eq!(failed.code, FailureCode::PANICKED);
    assert_eq!(failed.message, "panicked: out of cheese");

    let bomb: support::Handle = binding.call("/resources@1.0.0#[constructor]bomb", &()).unwrap();
    binding.drop_resource(loaded.resource("/resources@1.0.0#bomb"), bomb.0);
    let line = loaded.host.lines.lock().unwrap().pop().unwrap();
    assert_eq!(line.message, "the drop of a resource panicked: the bomb went off");

    // A second instance of the same library has lines of its own.
    let second = Loaded::new(load(), "{}").unwrap();
    let other = second.bind("{}").unwrap();
    loaded.host.lines.lock().unwrap().clear();
    second.host.lines.lock().unwrap().clear();
    binding.call::<()>("faults@1.0.0#log", &(1_u8, "mine")).unwrap();
    other.call::<()>("faults@1.0.0#log", &(1_u8, "theirs")).unwrap();
    let messages = |loaded: &Loaded| {
        let lines = loaded.host.lines.lock().unwrap();
        lines.iter().map(|line| line.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (messages(&loaded), messages(&second)),
        (vec!["mine".into()], vec!["theirs".into()])
    );
    other.unbind();
    second.shutdown();
    binding.unbind();
    loaded.shutdown();
}
