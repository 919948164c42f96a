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

    fn import_all(version: &str, wasi: &[(&str, &[&str])]) -> String {
        let mut text = String::from("(component");
        for (package, interfaces) in wasi {
            for interface in *interfaces {
                let name = format!("{package}/{interface}@{version}");
                assert!(is_core(&name.parse().unwrap()), "{name}");
                text.push_str(&format!(r#"(import "{name}" (instance))"#));
            }
        }
        text + ")"
    }

    fn links(kind: EngineKind, text: &str) {
        let engines = Engines::new(&Settings { instances: 10, ..Settings::default() }).unwrap();
        let engine = engines.get(kind);
        let mut linker = Linker::new(engine);
        add_to_linker(&mut linker, kind).unwrap();
        linker.instantiate_pre(&Component::new(engine, text).unwrap()).unwrap();
    }

    #[test]
    fn every_interface_that_is_core_is_linked() {
        let config: String = config_store::NAMES
            .iter()
            .map(|name| format!(r#"(import "{name}" (instance))"#))
            .collect();
        links(EngineKind::Sync, &import_all("0.2.0", WASI_0_2));
        links(EngineKind::Sync, &format!("(component {config})"));
        links(EngineKind::Concurrent, &import_all("0.2.6", WASI_0_2));
        links(EngineKind::Concurrent, &import_all("0.3.0", WASI_0_3));
    }

    #[test]
    fn what_providers_are_for_is_not_core() {
        for name in [
            "a:b/c@0.2.0",
            "wasi:http/types@0.4.0",
            "wasi:http/types",
            "wasi:config/store@0.2.0",
            "wasi:io/other@0.2.0",
        ] {
            assert!(!is_core(&name.parse().unwrap()), "{name}");
        }
    }
}
