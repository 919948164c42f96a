//! Files that are no extension for this host: none of their code runs.

use std::fs;

use backplane_abi::ABI_VERSION;
use backplane_tests::{Lab, component, library};

/// The library is refused with these words, by a host that enables it and in the list.
async fn is_refused(content: &[u8], extra: &str, parts: &[&str]) {
    let lab = Lab::new().with_config(&format!("enable = [\"keyvalue\"]\n{extra}"));
    let file = lab.write("plugins/keyvalue.so", content);
    let mut named = vec!["the extension `keyvalue`", file.to_str().unwrap(), "is refused"];
    named.extend(parts);
    let hello = component("hello");
    lab.run(["run".as_ref(), hello.as_os_str()]).await.is_refused(&named);

    let list = lab.run(["extensions"]).await;
    let list = list.succeeds();
    assert!(list.contains("refused"), "{list}");
    let json = lab.run(["extensions", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(json.succeeds()).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1, "{json}");
    assert_eq!(json[0]["status"], "refused", "{json}");
    for part in parts {
        assert!(list.contains(part), "no `{part}` in {list}");
        let reason = json[0]["reason"].as_str().unwrap();
        assert!(reason.contains(part), "no `{part}` in {reason}");
    }
}

/// The library with every occurrence of some bytes changed to others, as many.
fn patched(mut library: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<_> = library
        .windows(from.len())
        .enumerate()
        .filter_map(|(place, bytes)| (bytes == from).then_some(place))
        .collect();
    assert!(!places.is_empty(), "no {}", String::from_utf8_lossy(from));
    for place in places {
        library[place..place + from.len()].copy_from_slice(to);
    }
    library
}

#[tokio::test]
async fn a_file_that_is_no_shared_library_is_refused() {
    is_refused(b"plain text", "", &["not a shared library (ELF)"]).await;
    is_refused(&library("keyvalue")[..1000], "", &["not a shared library (ELF)"]).await;
}

#[tokio::test]
async fn a_shared_library_that_is_no_extension_is_refused() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let any = maps
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .find(|path| path.contains("/libc.so"))
        .unwrap();
    is_refused(&fs::read(any).unwrap(), "", &["not a Backplane extension", "export!"]).await;
}

#[tokio::test]
async fn an_extension_for_another_architecture_is_refused() {
    const MACHINE: usize = 18;
    const X86_64: u8 = 0x3e;
    const AARCH64: u8 = 0xb7;
    let mut library = library("keyvalue");
    let here = std::env::consts::ARCH;
    let (machine, there) =
        if here == "aarch64" { (X86_64, "x86_64") } else { (AARCH64, "aarch64") };
    library[MACHINE..MACHINE + 2].copy_from_slice(&[machine, 0]);
    let host = format!("this host runs on {here}");
    is_refused(&library, "", &[&format!("built for {there}"), &host]).await;
}

#[tokio::test]
async fn an_extension_with_another_abi_is_refused() {
    let ours: u32 = ABI_VERSION.split('.').next().unwrap().parse().unwrap();
    let theirs = ours + 1;
    let stated = |version: u32| format!("\"abi\":\"{version}.");
    let library = patched(library("keyvalue"), stated(ours).as_bytes(), stated(theirs).as_bytes());
    let (built, here) = (format!("built for ABI {theirs}."), format!("this host has ABI {ours}."));
    is_refused(&library, "", &[&built, &here, "backplane-sdk"]).await;
}

#[tokio::test]
async fn an_extension_that_needs_a_newer_glibc_is_refused() {
    let library = library("keyvalue");
    let version = library
        .windows(11)
        .find(|w| w.starts_with(b"GLIBC_2.") && w[8..10].is_ascii() && w.ends_with(b"\0"))
        .unwrap()
        .to_vec();
    let library = patched(library, &version, b"GLIBC_9.99\0");
    is_refused(&library, "", &["needs glibc 9.99", "this machine has 2.", "older system"]).await;
}

#[tokio::test]
async fn an_extension_that_aborts_on_a_panic_is_refused() {
    let library = patched(library("keyvalue"), b"\"panic\":\"unwind\"", b"\"panic\":\"abort\" ");
    is_refused(&library, "", &["panic = \"abort\"", "panic = \"unwind\""]).await;
}

#[tokio::test]
async fn an_extension_that_was_changed_after_its_pin_is_refused() {
    let lab = Lab::new().with_keyvalue();
    let digest = async |lab: &Lab| {
        let json = lab.run(["extensions", "--json"]).await;
        let json: serde_json::Value = serde_json::from_str(json.succeeds()).unwrap();
        json[0]["digest"].as_str().unwrap().to_owned()
    };
    let pinned = digest(&lab).await;
    let pin = format!("[extensions.keyvalue]\ndigest = \"{pinned}\"\n");

    // As it was pinned, it is loaded.
    let lab = lab.with_config(&format!("enable = [\"keyvalue\"]\n{pin}"));
    let hello = component("hello");
    let run = ["run".as_ref(), hello.as_os_str(), "--listen".as_ref(), "127.0.0.1:0".as_ref()];
    lab.start(run).await.stop().await;

    let mut library = library("keyvalue");
    library.push(0);
    lab.write("plugins/keyvalue.so", &library);
    let found = digest(&lab).await;
    assert_ne!(found, pinned);
    let found = format!("its digest is {found}");
    is_refused(&library, &pin, &[&found, &format!("pins {pinned}"), "set `digest = "]).await;
}

#[tokio::test]
async fn an_enabled_extension_that_is_not_there_is_named_with_what_is() {
    let lab = Lab::new().with_keyvalue().with_config("enable = [\"keyvlaue\"]\n");
    let hello = component("hello");
    lab.run(["run".as_ref(), hello.as_os_str()]).await.is_refused(&[
        "the extension `keyvlaue` is enabled",
        "(there are: `keyvalue`)",
        "plugins",
    ]);
}

#[tokio::test]
async fn an_extension_that_the_system_cannot_load_is_refused_in_the_system_s_words() {
    let lab = Lab::new().with_config("enable = [\"keyvalue\"]\n");
    // It needs a library that is nowhere, which only the system's loader finds out.
    let library = patched(library("keyvalue"), b"\0libgcc_s.so.1\0", b"\0libnone.so.1\0\0");
    lab.write("plugins/keyvalue.so", library);
    let hello = component("hello");
    let ran = lab.run(["run".as_ref(), hello.as_os_str()]).await;
    ran.is_refused(&["the extension `keyvalue`", "cannot be loaded", "libnone.so.1"]);
}
