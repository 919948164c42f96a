//! Components in the text format, which can say what no linker writes: an import under a name of its own, and
//! an interface of other types than its WIT.

/// What a component imports of `wasi:keyvalue`.
pub(crate) const STORE: &str = "wasi:keyvalue/store@0.2.0-draft2";

/// The functions of `store` that the components here use, after the types of [`store`].
pub(crate) const FUNCTIONS: [(&str, &str); 3] = [
    ("open", r#"(param "identifier" string) (result (result (own $bucket) (error $error)))"#),
    (
        "[method]bucket.get",
        r#"(param "self" (borrow $bucket)) (param "key" string) (result (result (option (list u8)) (error $error)))"#,
    ),
    (
        "[method]bucket.set",
        r#"(param "self" (borrow $bucket)) (param "key" string) (param "value" (list u8)) (result (result (error $error)))"#,
    ),
];

/// The type of `store`, with such functions.
fn store(functions: &[(&str, &str)]) -> String {
    let functions = functions.iter().map(|(name, ty)| format!("(export \"{name}\" (func {ty}))"));
    format!(
        r#"(type $e (variant (case "no-such-store") (case "access-denied") (case "other" string)))
        (export "error" (type $error (eq $e)))
        (export "bucket" (type $bucket (sub resource)))
        {}"#,
        functions.collect::<String>()
    )
}

fn encode(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A command with such imports and definitions, which runs `run` of the core module `$m`, given such instances.
fn command(definitions: &str, instances: &str) -> Vec<u8> {
    encode(&format!(
        r#"(component
        {definitions}
        (core instance $i (instantiate $m {instances}))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $command (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $command)))"#
    ))
}

/// A command that does nothing, and imports `store` with such functions.
pub(crate) fn importing(functions: &[(&str, &str)]) -> Vec<u8> {
    let store = store(functions);
    let nothing = r#"(core module $m (func (export "run") (result i32) i32.const 0))"#;
    command(&format!("(import \"{STORE}\" (instance {store})) {nothing}"), "")
}

/// The imports `east` and `west`, each `store` in a version, and the core functions that are lowered from them.
fn stores([east, west]: [&str; 2]) -> String {
    let store = store(&FUNCTIONS);
    let import = |name: &str, version: &str| {
        format!(
            r#"(import "{name}" (implements "wasi:keyvalue/store@{version}")
                (instance ${name} {store}))
            (alias export ${name} "bucket" (type ${name}-bucket))"#
        )
    };
    let lower = |name: &str| {
        let lower = |function: &str| {
            format!(
                r#"(canon lower (func ${name} "{function}") (memory $memory) (realloc $realloc))"#
            )
        };
        format!(
            r#"(core func ${name}-open {})
            (core func ${name}-get {})
            (core func ${name}-set {})
            (core func ${name}-drop (canon resource.drop ${name}-bucket))
            (core instance ${name}-functions
                (export "open" (func ${name}-open)) (export "get" (func ${name}-get))
                (export "set" (func ${name}-set)) (export "drop" (func ${name}-drop)))"#,
            lower("open"),
            lower("[method]bucket.get"),
            lower("[method]bucket.set"),
        )
    };
    let imports = [import("east", east), import("west", west)].concat();
    let lowered = [lower("east"), lower("west")].concat();
    format!("{imports} {MEMORY} {lowered}")
}

/// What the core module of a command over [`stores`] is given.
const STORES: &str = r#"(with "memory" (instance $memory-module))
    (with "east" (instance $east-functions)) (with "west" (instance $west-functions))"#;

/// A command that imports `store` twice, as `east` and as `west`, each in a version. It gives the key `key` the value
/// `east` through the one and `west` through the other, in the default bucket of each.
///
/// It ends well if each name has what was set through it, and nothing else, all the while. It ends with an error
/// if what was set through one is seen through the other, and traps if a store refuses anything.
pub(crate) fn east_and_west(versions: [&str; 2]) -> Vec<u8> {
    command(&format!("{} {}", stores(versions), telling_apart()), STORES)
}

/// A command that imports `store` as `east` and as `west`, and `atomics` with the `bucket` of `west`. It ends well if
/// it counts to 1 in the default bucket of `west`.
pub(crate) fn counting_in_west() -> Vec<u8> {
    let counting = r#"
        (import "wasi:keyvalue/atomics@0.2.0-draft2" (instance $atomics
            (type $e (variant (case "no-such-store") (case "access-denied") (case "other" string)))
            (export "error" (type $error (eq $e)))
            (export "bucket" (type $bucket (eq $west-bucket)))
            (export "increment" (func
                (param "bucket" (borrow $bucket)) (param "key" string) (param "delta" s64)
                (result (result s64 (error $error)))))))
        (core func $increment (canon lower (func $atomics "increment")
            (memory $memory) (realloc $realloc)))
        (core instance $atomics-functions (export "increment" (func $increment)))
        (core module $m
            (import "memory" "memory" (memory 1))
            (import "west" "open" (func $open (param i32 i32 i32)))
            (import "atomics" "increment" (func $increment (param i32 i32 i32 i64 i32)))
            (data (i32.const 0) "key")
            (func (export "run") (result i32)
                (call $open (i32.const 0) (i32.const 0) (i32.const 64))
                (if (i32.load8_u (i32.const 64)) (then unreachable))
                (call $increment (i32.load (i32.const 68))
                    (i32.const 0) (i32.const 3) (i64.const 1) (i32.const 64))
                (if (i32.load8_u (i32.const 64)) (then unreachable))
                (i64.ne (i64.load (i32.const 72)) (i64.const 1))))"#;
    command(
        &format!("{} {counting}", stores(["0.2.0-draft2"; 2])),
        &format!("{STORES} (with \"atomics\" (instance $atomics-functions))"),
    )
}

/// A memory, and an allocator that never frees: what imports are lowered with.
const MEMORY: &str = r#"
    (core module $allocator
        (memory (export "memory") 1)
        (global $next (mut i32) (i32.const 1024))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            ;; Eight is the most that anything is aligned to.
            (local.set $at
                (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
            (global.set $next (i32.add (local.get $at) (local.get 3)))
            (local.get $at)))
    (core instance $memory-module (instantiate $allocator))
    (alias core export $memory-module "memory" (core memory $memory))
    (alias core export $memory-module "realloc" (core func $realloc))"#;

/// The core module of [`east_and_west`]. In its memory are the key at 0, the values at 16 and 32, and from 64 on the
/// answer to the last call: 0 for ok at 64, and at 68 a bucket; or at 68 whether there is a value, at 72 where it is
/// and at 76 how long.
fn telling_apart() -> String {
    let functions = |name: &str| {
        format!(
            r#"(import "{name}" "open" (func ${name}-open (param i32 i32 i32)))
            (import "{name}" "get" (func ${name}-get (param i32 i32 i32 i32)))
            (import "{name}" "set" (func ${name}-set (param i32 i32 i32 i32 i32 i32)))
            (import "{name}" "drop" (func ${name}-drop (param i32)))"#
        )
    };
    let open = |name: &str| {
        format!(
            r#"(call ${name}-open (i32.const 0) (i32.const 0) (i32.const 64))
            (call $answered)
            (local.set ${name} (i32.load (i32.const 68)))"#
        )
    };
    let set = |name: &str, value: u32| {
        format!(
            r#"(call ${name}-set (local.get ${name})
                (i32.const 0) (i32.const 3) (i32.const {value}) (i32.const 4) (i32.const 64))
            (call $answered)"#
        )
    };
    let get = |name: &str, otherwise: &str| {
        format!(
            r#"(call ${name}-get (local.get ${name}) (i32.const 0) (i32.const 3) (i32.const 64))
            (call $answered)
            (if {otherwise} (then (return (i32.const 1))))"#
        )
    };
    let is_there = "(i32.load8_u (i32.const 68))";
    let is_not = |value: u32| format!("(i32.eqz (call $is (i32.const {value})))");
    let steps = [
        open("east"),
        open("west"),
        set("east", 16),
        get("west", is_there),
        set("west", 32),
        get("east", &is_not(16)),
        get("west", &is_not(32)),
    ];
    format!(
        r#"(core module $m
        (import "memory" "memory" (memory 1))
        {}
        {}
        (data (i32.const 0) "key")
        (data (i32.const 16) "east")
        (data (i32.const 32) "west")
        ;; Traps if the store refused.
        (func $answered (if (i32.load8_u (i32.const 64)) (then unreachable)))
        ;; Whether the answer is the value of four letters that is there.
        (func $is (param $value i32) (result i32)
            (if (i32.eqz (i32.load8_u (i32.const 68))) (then (return (i32.const 0))))
            (if (i32.ne (i32.load (i32.const 76)) (i32.const 4)) (then (return (i32.const 0))))
            (i32.eq (i32.load (i32.load (i32.const 72))) (i32.load (local.get $value))))
        (func (export "run") (result i32)
            (local $east i32) (local $west i32)
            {}
            (call $east-drop (local.get $east))
            (call $west-drop (local.get $west))
            (i32.const 0)))"#,
        functions("east"),
        functions("west"),
        steps.concat(),
    )
}
