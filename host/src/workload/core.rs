//! The core interfaces: those that the host itself implements, in every version it has.

use semver::Version;
use wasmtime::component::Linker;

use super::{State, config_store};
use crate::{engine::EngineKind, name::InterfaceName};

/// Interfaces of WASI 0.2, any patch version.
const WASI_0_2: &[(&str, &[&str])] = &[
    ("wasi:io", &["error", "poll", "streams"]),
    ("wasi:clocks", &["monotonic-clock", "wall-clock"]),
    ("wasi:random", &["random", "insecure", "insecure-seed"]),
    ("wasi:filesystem", &["types", "preopens"]),
    (
        "wasi:sockets",
        &[
            "network",
            "instance-network",
            "ip-name-lookup",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
    ),
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("wasi:http", &["types", "outgoing-handler"]),
];

/// Interfaces of WASI 0.3, any patch version.
const WASI_0_3: &[(&str, &[&str])] = &[
    ("wasi:clocks", &["types", "monotonic-clock", "system-clock"]),
    ("wasi:random", &["random", "insecure", "insecure-seed"]),
    ("wasi:filesystem", &["types", "preopens"]),
    ("wasi:sockets", &["types", "ip-name-lookup"]),
    (
        "wasi:cli",
        &[
            "types",
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("wasi:http", &["types", "client"]),
];

/// Whether the host itself implements an interface. Everything else is for providers.
pub fn is_core(name: &InterfaceName) -> bool {
    let wasi = match name.version() {
        Some(Version { major: 0, minor: 2, pre, .. }) if pre.is_empty() => WASI_0_2,
        Some(Version { major: 0, minor: 3, pre, .. }) if pre.is_empty() => WASI_0_3,
        _ => &[],
    };
    wasi.iter().any(|(package, interfaces)| {
        *package == name.package() && interfaces.contains(&name.interface())
    }) || config_store::NAMES.iter().any(|own| name.to_string() == *own)
}

/// Adds every core interface that components of an engine can import. Called once for each workload;
/// what a component does not import costs nothing later.
pub fn add_to_linker(linker: &mut Linker<State>, kind: EngineKind) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    if kind == EngineKind::Concurrent {
        wasmtime_wasi::p3::add_to_linker(linker)?;
        wasmtime_wasi_http::p3::add_to_linker(linker)?;
    }
    config_store::add_to_linker(linker)
}

#[cfg(test)]
mod tests {
    use wasmtime::component::Component;

    use super::*;
    use crate::engine::{Engines, Settings};

    /// A function of each interface; those that have only types are left out.
    fn a_function_of(name: &InterfaceName) -> Option<&'static str> {
        let is_0_3 = name.version().is_some_and(|version| version.minor == 3);
        Some(match (name.package(), name.interface()) {
            (_, "error") => "[method]error.to-debug-string",
            (_, "poll") => "poll",
            (_, "streams") => "[method]input-stream.read",
            (_, "monotonic-clock" | "wall-clock" | "system-clock") => "now",
            (_, "random") => "get-random-bytes",
            (_, "insecure") => "get-insecure-random-bytes",
            (_, "insecure-seed") if is_0_3 => "get-insecure-seed",
            (_, "insecure-seed") => "insecure-seed",
            ("wasi:filesystem", "types") => "[method]descriptor.sync",
            (_, "preopens") => "get-directories",
            (_, "network") => "[resource-drop]network",
            (_, "instance-network") => "instance-network",
            (_, "ip-name-lookup") => "resolve-addresses",
            (_, "tcp") => "[method]tcp-socket.start-bind",
            (_, "tcp-create-socket") => "create-tcp-socket",
            (_, "udp") => "[method]udp-socket.start-bind",
            (_, "udp-create-socket") => "create-udp-socket",
            ("wasi:sockets", "types") => "[method]tcp-socket.bind",
            (_, "environment") => "get-environment",
            (_, "exit") => "exit",
            (_, "stdin") if is_0_3 => "read-via-stream",
            (_, "stdout" | "stderr") if is_0_3 => "write-via-stream",
            (_, "stdin") => "get-stdin",
            (_, "stdout") => "get-stdout",
            (_, "stderr") => "get-stderr",
            (_, "terminal-stdin") => "get-terminal-stdin",
            (_, "terminal-stdout") => "get-terminal-stdout",
            (_, "terminal-stderr") => "get-terminal-stderr",
            ("wasi:http", "types") => "[constructor]fields",
            (_, "outgoing-handler") => "handle",
            (_, "client") => "send",
            (_, "store") => "get",
            (_, "types" | "terminal-input" | "terminal-output") => return None,
            other => panic!("no function of {other:?} is known to this test"),
        })
        .filter(|function| !function.starts_with("[resource-drop]"))
    }

    /// Links a function of each interface under a type that it has not: the complaint must be about
    /// the type, and not that there is no such function.
    fn has_all(kind: EngineKind, names: impl IntoIterator<Item = String>) {
        let engines = Engines::new(&Settings { instances: 10, ..Settings::default() }).unwrap();
        let engine = engines.make(kind).unwrap();
        let mut linker = Linker::new(engine);
        add_to_linker(&mut linker, kind).unwrap();
        for text in names {
            let name: InterfaceName = text.parse().unwrap();
            assert!(is_core(&name), "{name}");
            let Some(function) = a_function_of(&name) else { continue };
            // Methods need their resource; its type is what they are found wrong by.
            let plain = function.trim_start_matches("[method]").trim_start_matches("[constructor]");
            let resource = plain.split('.').next().unwrap();
            let import = match function.split(']').next().unwrap() {
                "[method" => format!(
                    r#"(export "{resource}" (type $r (sub resource))) (export "{function}" (func (param "self" (borrow $r)) (param "x" u8)))"#
                ),
                "[constructor" => format!(
                    r#"(export "{resource}" (type $r (sub resource))) (export "{function}" (func (param "x" u8) (result (own $r))))"#
                ),
                _ => format!(r#"(export "{function}" (func (param "x" (tuple u8 u8))))"#),
            };
            let text = format!(r#"(component (import "{name}" (instance {import})))"#);
            let component = Component::new(engine, wat::parse_str(text).unwrap()).unwrap();
            let error = linker.instantiate_pre(&component).err().expect("the type is wrong");
            let error = format!("{error:?}");
            assert!(!error.contains("implementation is missing"), "{name}: {error}");
            assert!(error.contains(function), "{name}: {error}");
        }
    }

    fn all<'a>(version: &'a str, wasi: &'a [(&str, &[&str])]) -> impl Iterator<Item = String> + 'a {
        wasi.iter().flat_map(move |(package, interfaces)| {
            interfaces.iter().map(move |interface| format!("{package}/{interface}@{version}"))
        })
    }

    #[test]
    fn every_interface_that_is_core_is_linked() {
        let config = config_store::NAMES.map(str::to_owned);
        has_all(EngineKind::Sync, all("0.2.0", WASI_0_2).chain(config.clone()));
        has_all(EngineKind::Concurrent, all("0.2.6", WASI_0_2).chain(config));
        has_all(EngineKind::Concurrent, all("0.3.0", WASI_0_3));
    }

    #[test]
    fn what_providers_are_for_is_not_core() {
        for name in [
            "a:b/c@0.2.0",
            "wasi:http/types@0.4.0",
            "wasi:http/types@0.3.0-rc-2026-03-15",
            "wasi:http/types",
            "wasi:config/store@0.2.0",
            "wasi:io/other@0.2.0",
        ] {
            assert!(!is_core(&name.parse().unwrap()), "{name}");
        }
    }
}
