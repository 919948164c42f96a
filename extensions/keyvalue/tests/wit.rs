//! The WIT under `wit/` is what the specification says, function by function, and the extension's
//! world takes both versions of it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeMap, path::Path};

use wit_parser::{
    Function, FunctionKind, Handle, Interface, PackageId, Resolve, Type, TypeDefKind, WorldItem,
};

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit").join(name)
}

fn load(resolve: &mut Resolve, name: &str) -> PackageId {
    resolve.push_dir(folder(name)).unwrap().0
}

/// A type as WIT writes it.
fn type_text(resolve: &Resolve, ty: &Type) -> String {
    let Type::Id(id) = ty else {
        return format!("{ty:?}").to_lowercase().replace("errorcontext", "error-context");
    };
    let definition = &resolve.types[*id];
    if let Some(name) = &definition.name {
        return name.clone();
    }
    let text = |ty: &Type| type_text(resolve, ty);
    let half = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), text);
    match &definition.kind {
        TypeDefKind::List(ty) => format!("list<{}>", text(ty)),
        TypeDefKind::Option(ty) => format!("option<{}>", text(ty)),
        TypeDefKind::Result(result) => match (&result.ok, &result.err) {
            (ok, Some(error)) => format!("result<{}, {}>", half(ok), text(error)),
            (Some(ok), None) => format!("result<{}>", text(ok)),
            (None, None) => "result".to_owned(),
        },
        TypeDefKind::Tuple(tuple) => {
            format!("tuple<{}>", tuple.types.iter().map(text).collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", text(&Type::Id(*id))),
        TypeDefKind::Handle(Handle::Own(id)) => text(&Type::Id(*id)),
        kind => panic!("{kind:?} has no name"),
    }
}

fn function_text(resolve: &Resolve, function: &Function) -> String {
    assert!(!matches!(
        function.kind,
        FunctionKind::AsyncFreestanding
            | FunctionKind::AsyncMethod(_)
            | FunctionKind::AsyncStatic(_)
    ));
    let parameters: Vec<_> = function
        .params
        .iter()
        .map(|param| format!("{}: {}", param.name, type_text(resolve, &param.ty)))
        .collect();
    let result = function.result.map(|ty| format!(" -> {}", type_text(resolve, &ty)));
    format!("({}){}", parameters.join(", "), result.unwrap_or_default())
}

/// The functions of an interface, by the names that they have in the component model.
fn functions(resolve: &Resolve, interface: &Interface) -> BTreeMap<String, String> {
    interface
        .functions
        .iter()
        .map(|(name, function)| (name.clone(), function_text(resolve, function)))
        .collect()
}

/// The fields or cases of a type, in order.
fn members(resolve: &Resolve, interface: &Interface, name: &str) -> Vec<String> {
    let part = |name: &str, ty: Option<&Type>| match ty {
        Some(ty) => format!("{name}: {}", type_text(resolve, ty)),
        None => name.to_owned(),
    };
    match &resolve.types[interface.types[name]].kind {
        TypeDefKind::Record(record) => {
            record.fields.iter().map(|field| part(&field.name, Some(&field.ty))).collect()
        }
        TypeDefKind::Variant(variant) => {
            variant.cases.iter().map(|case| part(&case.name, case.ty.as_ref())).collect()
        }
        kind => panic!("{name} is {kind:?}"),
    }
}

fn interface<'a>(resolve: &'a Resolve, package: PackageId, name: &str) -> &'a Interface {
    &resolve.interfaces[resolve.packages[package].interfaces[name]]
}

fn expect(resolve: &Resolve, package: PackageId, name: &str, expected: &[(&str, &str)]) {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    assert_eq!(functions(resolve, interface(resolve, package, name)), expected, "{name}");
}

/// What the two versions have in common; they differ in the cursor and in `atomics`.
fn expect_keyvalue(resolve: &Resolve, package: PackageId, cursor: &str) {
    let list =
        format!("(self: borrow<bucket>, cursor: option<{cursor}>) -> result<key-response, error>");
    expect(
        resolve,
        package,
        "store",
        &[
            ("open", "(identifier: string) -> result<bucket, error>"),
            (
                "[method]bucket.get",
                "(self: borrow<bucket>, key: string) -> result<option<list<u8>>, error>",
            ),
            (
                "[method]bucket.set",
                "(self: borrow<bucket>, key: string, value: list<u8>) -> result<_, error>",
            ),
            ("[method]bucket.delete", "(self: borrow<bucket>, key: string) -> result<_, error>"),
            ("[method]bucket.exists", "(self: borrow<bucket>, key: string) -> result<bool, error>"),
            ("[method]bucket.list-keys", &list),
        ],
    );
    expect(
        resolve,
        package,
        "batch",
        &[
            (
                "get-many",
                "(bucket: borrow<bucket>, keys: list<string>) -> result<list<option<tuple<string, list<u8>>>>, error>",
            ),
            (
                "set-many",
                "(bucket: borrow<bucket>, key-values: list<tuple<string, list<u8>>>) -> result<_, error>",
            ),
            ("delete-many", "(bucket: borrow<bucket>, keys: list<string>) -> result<_, error>"),
        ],
    );
    expect(
        resolve,
        package,
        "watcher",
        &[
            ("on-set", "(bucket: bucket, key: string, value: list<u8>)"),
            ("on-delete", "(bucket: bucket, key: string)"),
        ],
    );
    let store = interface(resolve, package, "store");
    assert_eq!(
        members(resolve, store, "error"),
        ["no-such-store", "access-denied", "other: string"]
    );
    assert_eq!(
        members(resolve, store, "key-response"),
        ["keys: list<string>".to_owned(), format!("cursor: option<{cursor}>")]
    );
    let package = &resolve.packages[package];
    assert_eq!(
        package.interfaces.keys().collect::<Vec<_>>(),
        ["store", "atomics", "batch", "watcher"]
    );
    assert_eq!(package.worlds.keys().collect::<Vec<_>>(), ["imports", "watch-service"]);
}

#[test]
fn keyvalue_draft_has_the_published_signatures() {
    let mut resolve = Resolve::default();
    let package = load(&mut resolve, "wasi-keyvalue-0.2.0-draft");
    assert_eq!(resolve.packages[package].name.to_string(), "wasi:keyvalue@0.2.0-draft");
    expect_keyvalue(&resolve, package, "u64");
    expect(
        &resolve,
        package,
        "atomics",
        &[("increment", "(bucket: borrow<bucket>, key: string, delta: u64) -> result<u64, error>")],
    );
}

#[test]
fn keyvalue_draft2_has_the_published_signatures() {
    let mut resolve = Resolve::default();
    let package = load(&mut resolve, "wasi-keyvalue-0.2.0-draft2");
    assert_eq!(resolve.packages[package].name.to_string(), "wasi:keyvalue@0.2.0-draft2");
    expect_keyvalue(&resolve, package, "string");
    expect(
        &resolve,
        package,
        "atomics",
        &[
            (
                "increment",
                "(bucket: borrow<bucket>, key: string, delta: s64) -> result<s64, error>",
            ),
            ("swap", "(cas: cas, value: list<u8>) -> result<_, cas-error>"),
            ("[static]cas.new", "(bucket: borrow<bucket>, key: string) -> result<cas, error>"),
            ("[method]cas.current", "(self: borrow<cas>) -> result<option<list<u8>>, error>"),
        ],
    );
    assert_eq!(
        members(&resolve, interface(&resolve, package, "atomics"), "cas-error"),
        ["store-error: error", "cas-failed: cas"]
    );
}

#[test]
fn config_has_one_shape_under_its_three_published_names() {
    for version in ["0.2.0-rc.1", "0.2.0-draft", "0.2.0-draft-2024-09-27"] {
        let mut resolve = Resolve::default();
        let package = load(&mut resolve, &format!("wasi-config-{version}"));
        assert_eq!(resolve.packages[package].name.to_string(), format!("wasi:config@{version}"));
        expect(
            &resolve,
            package,
            "store",
            &[
                ("get", "(key: string) -> result<option<string>, error>"),
                ("get-all", "() -> result<list<tuple<string, string>>, error>"),
            ],
        );
        assert_eq!(
            members(&resolve, interface(&resolve, package, "store"), "error"),
            ["upstream: string", "io: string"]
        );
    }
}

#[test]
fn the_extension_provides_both_versions_in_one_world() {
    let mut resolve = Resolve::default();
    load(&mut resolve, "wasi-keyvalue-0.2.0-draft");
    load(&mut resolve, "wasi-keyvalue-0.2.0-draft2");
    let package = load(&mut resolve, "../extensions/keyvalue/wit");
    let world = resolve.select_world(&[package], Some("provider")).unwrap();
    let exports: Vec<_> = resolve.worlds[world]
        .exports
        .iter()
        .map(|(key, item)| {
            assert!(matches!(item, WorldItem::Interface { .. }));
            resolve.name_world_key(key)
        })
        .collect();
    assert_eq!(
        exports,
        [
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:keyvalue/atomics@0.2.0-draft",
            "wasi:keyvalue/batch@0.2.0-draft",
            "wasi:keyvalue/store@0.2.0-draft2",
            "wasi:keyvalue/atomics@0.2.0-draft2",
            "wasi:keyvalue/batch@0.2.0-draft2",
        ]
    );
}

#[test]
fn every_interface_and_function_is_documented() {
    for name in [
        "wasi-keyvalue-0.2.0-draft",
        "wasi-keyvalue-0.2.0-draft2",
        "wasi-config-0.2.0-rc.1",
        "wasi-config-0.2.0-draft",
        "wasi-config-0.2.0-draft-2024-09-27",
    ] {
        let mut resolve = Resolve::default();
        let package = load(&mut resolve, name);
        for (name, id) in &resolve.packages[package].interfaces {
            let interface = &resolve.interfaces[*id];
            assert!(interface.docs.contents.is_some(), "{name}");
            for (name, function) in &interface.functions {
                assert!(function.docs.contents.is_some(), "{name}");
            }
        }
    }
}
