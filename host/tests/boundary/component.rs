//! Components: one that hands the arguments of its one export to its one import, and the result back; and
//! one that returns by `task.return`.

use std::fmt::Write;

use crate::generate::{Encoding, Lowering, Signature, Ty, flatten, layout};

/// Memory, and a `realloc` that gives what was never given before.
const LIBC: &str = r#"(core module $libc
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1))) (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (block $enough
        (br_if $enough (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
        (drop (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get $size) (i32.const 65536))))))
      (if (local.get $old_size) (then
        (memory.copy (local.get $at) (local.get $old)
          (select (local.get $old_size) (local.get $size) (i32.lt_u (local.get $old_size) (local.get $size))))))
      (local.get $at)))"#;

/// The component's text.
pub fn forwarding(signature: &Signature, encoding: Encoding, lowering: Lowering) -> String {
    let mut inner = Types::new(true);
    let inner_type = inner.function(signature);
    let mut outer = Types::new(false);
    let outer_type = outer.function(signature);
    let options = format!(
        "(memory (core memory $libc \"memory\")) (realloc (core func $libc \"realloc\")) string-encoding={}",
        name(encoding)
    );
    let is_async = if lowering == Lowering::Async { "async" } else { "" };
    format!(
        r#"(component
  (import "test:gen/api@1.0.0" (instance $api {inner} (export "f" (func {is_async} {inner_type}))))
  {outer}
  {LIBC}
  (core instance $libc (instantiate $libc))
  (core func $f (canon lower (func $api "f") {is_async} {options}))
  {module}
  (core instance $main (instantiate $main
    (with "host" (instance (export "f" (func $f))))
    (with "libc" (instance $libc))))
  (func $run {outer_type} (canon lift (core func $main "run") {options}))
  (instance $exported (export "run" (func $run)))
  (export "test:gen/run@1.0.0" (instance $exported)))"#,
        inner = inner.text,
        outer = outer.text,
        module = module(signature, lowering),
    )
}

/// A component whose one export, an `async func`, returns a tuple of so many `u32`s: 0, 1, 2 and so on. They
/// pass flat up to 16.
pub fn returning(count: usize) -> String {
    let types = vec!["u32"; count].join(" ");
    let result = if count == 0 { String::new() } else { format!("(result (tuple {types}))") };
    let flat = if count <= 16 { vec!["i32"; count].join(" ") } else { "i32".to_owned() };
    let mut body = String::new();
    for i in 0..count {
        match count {
            0..=16 => write!(body, "(i32.const {i})").unwrap(),
            _ => write!(body, "(i32.store (i32.const {}) (i32.const {i}))", 64 + 4 * i).unwrap(),
        }
    }
    if count > 16 {
        body.push_str("(i32.const 64)");
    }
    format!(
        r#"(component
  (core module $libc (memory (export "memory") 1))
  (core instance $libc (instantiate $libc))
  (core func $return (canon task.return {result} (memory (core memory $libc "memory"))))
  (core module $main
    (import "host" "return" (func $return (param {flat})))
    (import "libc" "memory" (memory 1))
    (func (export "run") (result i32) {body} (call $return) (i32.const 0))
    (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
  (core instance $main (instantiate $main
    (with "host" (instance (export "return" (func $return))))
    (with "libc" (instance $libc))))
  (func $run async {result} (canon lift (core func $main "run") async
    (memory (core memory $libc "memory")) (callback (core func $main "callback"))))
  (instance $exported (export "run" (func $run)))
  (export "test:gen/run@1.0.0" (instance $exported)))"#
    )
}

/// A component whose one export takes a stream, or a future, from its import `get`, gives another to its import `put`,
/// and moves everything from one to the other, at most so many elements at once. `places` are where it has them read
/// to and where it writes them from, as offsets from where they belong.
pub fn moving(of: &Ty, is_future: bool, encoding: Encoding, places: [i32; 2]) -> String {
    let kind = if is_future { "future" } else { "stream" };
    let mut inner = Types::new(true);
    let element = inner.name(of);
    let mut outer = Types::new(false);
    let own = outer.name(of);
    let options = format!(
        "async (memory (core memory $libc \"memory\")) (realloc (core func $libc \"realloc\")) string-encoding={}",
        name(encoding)
    );
    let (counted, count) = match is_future {
        true => ("", ""),
        false => ("i32", "(global.get $at-once)"),
    };
    let (left, left_over) = match is_future {
        // One, or the other side is gone, which it is not to be.
        true => ("(i32.sub (i32.const 1) (local.get $code))", ""),
        false => ("(i32.shr_u (local.get $code) (i32.const 4))", "(global.get $left)"),
    };
    let ended = match is_future {
        true => "(i32.const 1)",
        false => "(i32.eq (i32.and (local.get $code) (i32.const 15)) (i32.const 1))",
    };
    let size = layout(of).0;
    let [to, from] = places;
    format!(
        r#"(component
  (import "test:gen/api@1.0.0" (instance $api {inner}
    (type $s ({kind} {element}))
    (export "get" (func (result $s)))
    (export "put" (func (param "given" $s)))))
  {outer}
  (type $s ({kind} {own}))
  {LIBC}
  (core instance $libc (instantiate $libc))
  (core func $get (canon lower (func $api "get")))
  (core func $put (canon lower (func $api "put")))
  (core func $new (canon {kind}.new $s))
  (core func $read (canon {kind}.read $s {options}))
  (core func $write (canon {kind}.write $s {options}))
  (core func $drop-readable (canon {kind}.drop-readable $s))
  (core func $drop-writable (canon {kind}.drop-writable $s))
  (core func $set (canon waitable-set.new))
  (core func $join (canon waitable.join))
  (core func $return (canon task.return))
  (core module $main
    (import "host" "get" (func $get (result i32)))
    (import "host" "put" (func $put (param i32)))
    (import "host" "new" (func $new (result i64)))
    (import "host" "read" (func $read (param i32 i32 {counted}) (result i32)))
    (import "host" "write" (func $write (param i32 i32 {counted}) (result i32)))
    (import "host" "drop-readable" (func $drop-readable (param i32)))
    (import "host" "drop-writable" (func $drop-writable (param i32)))
    (import "host" "set" (func $new-set (result i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "return" (func $return))
    (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (global $in (mut i32) (i32.const 0))
    (global $out (mut i32) (i32.const 0))
    (global $set (mut i32) (i32.const 0))
    (global $at-once (mut i32) (i32.const 0))
    (global $buffer (mut i32) (i32.const 0))
    (global $at (mut i32) (i32.const 0))
    (global $left (mut i32) (i32.const 0))
    (global $ended (mut i32) (i32.const 0))
    (func (export "run") (param $at-once i32) (result i32) (local $pair i64)
      (global.set $at-once (local.get $at-once))
      (global.set $in (call $get))
      (local.set $pair (call $new))
      (global.set $out (i32.wrap_i64 (i64.shr_u (local.get $pair) (i64.const 32))))
      (call $put (i32.wrap_i64 (local.get $pair)))
      (global.set $set (call $new-set))
      (call $join (global.get $in) (global.get $set))
      (call $join (global.get $out) (global.get $set))
      (global.set $buffer (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.mul (local.get $at-once) (i32.const {size}))))
      (call $next))
    ;; What an exported function returns: 0 that it has ended, 2 and its set that it waits.
    (func $wait (result i32) (i32.or (i32.const 2) (i32.shl (global.get $set) (i32.const 4))))
    (func $next (result i32) (local $code i32)
      (local.set $code (call $read (global.get $in) (i32.add (global.get $buffer) (i32.const {to})) {count}))
      (if (i32.eq (local.get $code) (i32.const -1)) (then (return (call $wait))))
      (call $was-read (local.get $code)))
    (func $was-read (param $code i32) (result i32)
      (global.set $left {left})
      (global.set $ended {ended})
      (global.set $at (global.get $buffer))
      (call $hand-on))
    (func $hand-on (result i32) (local $code i32)
      (if (i32.eqz (global.get $left)) (then
        (if (global.get $ended) (then
          (call $join (global.get $in) (i32.const 0))
          (call $join (global.get $out) (i32.const 0))
          (call $drop-readable (global.get $in))
          (call $drop-writable (global.get $out))
          (call $return)
          (return (i32.const 0))))
        (return (call $next))))
      (local.set $code (call $write (global.get $out) (i32.add (global.get $at) (i32.const {from})) {left_over}))
      (if (i32.eq (local.get $code) (i32.const -1)) (then (return (call $wait))))
      (call $was-written (local.get $code)))
    (func $was-written (param $code i32) (result i32)
      (global.set $left (i32.sub (global.get $left) {left}))
      (global.set $at (i32.add (global.get $at) (i32.mul {left} (i32.const {size}))))
      (call $hand-on))
    (func (export "callback") (param $event i32) (param $waitable i32) (param $code i32) (result i32)
      (if (i32.eq (local.get $waitable) (global.get $in)) (then (return (call $was-read (local.get $code)))))
      (call $was-written (local.get $code))))
  (core instance $main (instantiate $main
    (with "host" (instance
      (export "get" (func $get)) (export "put" (func $put)) (export "new" (func $new))
      (export "read" (func $read)) (export "write" (func $write))
      (export "drop-readable" (func $drop-readable)) (export "drop-writable" (func $drop-writable))
      (export "set" (func $set)) (export "join" (func $join)) (export "return" (func $return))))
    (with "libc" (instance $libc))))
  (func $run async (param "at-once" u32) (canon lift (core func $main "run") async
    (memory (core memory $libc "memory")) (callback (core func $main "callback"))))
  (instance $exported (export "run" (func $run)))
  (export "test:gen/run@1.0.0" (instance $exported)))"#,
        inner = inner.text,
        outer = outer.text,
    )
}

fn name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Utf8 => "utf8",
        Encoding::Utf16 => "utf16",
        Encoding::CompactUtf16 => "latin1+utf16",
    }
}

/// The core module: `run` calls `f` with what it was given.
fn module(signature: &Signature, lowering: Lowering) -> String {
    let flat: Vec<_> = signature.params.iter().flat_map(flatten).collect();
    let result: Vec<_> = signature.result.iter().flat_map(flatten).collect();
    let lifted: Vec<&str> = if flat.len() > 16 { vec!["i32"] } else { flat.clone() };
    let most = if lowering == Lowering::Async { 4 } else { 16 };
    let spilled = flat.len() > most;
    let in_memory = result.len() > 1 || (lowering == Lowering::Async && !result.is_empty());
    let mut lowered = if spilled { vec!["i32"] } else { flat.clone() };
    let mut returns = if in_memory { Vec::new() } else { result.clone() };
    if in_memory {
        lowered.push("i32");
    }
    if lowering == Lowering::Async {
        returns = vec!["i32"];
    }
    let run_returns: Vec<&str> = if result.len() > 1 { vec!["i32"] } else { result.clone() };
    let mut body = String::new();
    if spilled && flat.len() <= 16 {
        // Only for `u32`s: an async-lowered call of 5 to 16 flat values takes them in memory.
        body.push_str("(local.set $args (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 256)))");
        for i in 0..flat.len() {
            write!(
                body,
                "(i32.store (i32.add (local.get $args) (i32.const {})) (local.get {i}))",
                i * 4
            )
            .unwrap();
        }
    }
    if in_memory {
        body.push_str("(local.set $ret (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 65536)))");
    }
    if spilled && flat.len() <= 16 {
        body.push_str("(local.get $args)");
    } else {
        for i in 0..lifted.len() {
            write!(body, "(local.get {i})").unwrap();
        }
    }
    if in_memory {
        body.push_str("(local.get $ret)");
    }
    body.push_str("(call $f)");
    if lowering == Lowering::Async {
        // It must have returned at once.
        body.push_str("(if (i32.ne (i32.const 2)) (then unreachable))");
    }
    if in_memory {
        body.push_str("(local.get $ret)");
    }
    format!(
        r#"(core module $main
    (import "host" "f" (func $f (param {}) (result {})))
    (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "libc" "memory" (memory 1))
    (func (export "run") (param {}) (result {}) (local $ret i32) (local $args i32)
      {body}))"#,
        lowered.join(" "),
        returns.join(" "),
        lifted.join(" "),
        run_returns.join(" "),
    )
}

/// Type definitions: inside the imported instance's type, where named types are exported, or in the
/// component, where they are aliased from there.
struct Types {
    inside: bool,
    count: usize,
    text: String,
}

impl Types {
    fn new(inside: bool) -> Self {
        Self { inside, count: 0, text: String::new() }
    }

    fn function(&mut self, signature: &Signature) -> String {
        let mut text = String::new();
        for (i, ty) in signature.params.iter().enumerate() {
            let ty = self.name(ty);
            write!(text, "(param \"p{i}\" {ty})").unwrap();
        }
        if let Some(ty) = &signature.result {
            let ty = self.name(ty);
            write!(text, "(result {ty})").unwrap();
        }
        text
    }

    fn name(&mut self, ty: &Ty) -> String {
        let plain = match ty {
            Ty::Bool => "bool",
            Ty::S8 => "s8",
            Ty::U8 => "u8",
            Ty::S16 => "s16",
            Ty::U16 => "u16",
            Ty::S32 => "s32",
            Ty::U32 => "u32",
            Ty::S64 => "s64",
            Ty::U64 => "u64",
            Ty::F32 => "f32",
            Ty::F64 => "f64",
            Ty::Char => "char",
            Ty::String => "string",
            Ty::List(ty) => return self.anonymous(|t| format!("(list {})", t.name(ty))),
            Ty::Tuple(types) => {
                return self.anonymous(|t| {
                    let types: Vec<_> = types.iter().map(|ty| t.name(ty)).collect();
                    format!("(tuple {})", types.join(" "))
                });
            }
            Ty::Option(ty) => return self.anonymous(|t| format!("(option {})", t.name(ty))),
            Ty::Result(ok, err) => {
                return self.anonymous(|t| {
                    let ok = ok.as_ref().map(|ty| t.name(ty)).unwrap_or_default();
                    let err = err.as_ref().map(|ty| format!("(error {})", t.name(ty)));
                    format!("(result {ok} {})", err.unwrap_or_default())
                });
            }
            Ty::Record(types) => {
                return self.named(|t| {
                    let fields: Vec<_> = types
                        .iter()
                        .enumerate()
                        .map(|(i, ty)| format!("(field \"f{i}\" {})", t.name(ty)))
                        .collect();
                    format!("(record {})", fields.join(" "))
                });
            }
            Ty::Variant(cases) => {
                return self.named(|t| {
                    let cases: Vec<_> = cases
                        .iter()
                        .enumerate()
                        .map(|(i, ty)| {
                            let ty = ty.as_ref().map(|ty| t.name(ty)).unwrap_or_default();
                            format!("(case \"c{i}\" {ty})")
                        })
                        .collect();
                    format!("(variant {})", cases.join(" "))
                });
            }
            Ty::Enum(count) => {
                let names: Vec<_> = (0..*count).map(|i| format!("\"c{i}\"")).collect();
                return self.named(|_| format!("(enum {})", names.join(" ")));
            }
            Ty::Flags(count) => {
                let names: Vec<_> = (0..*count).map(|i| format!("\"b{i}\"")).collect();
                return self.named(|_| format!("(flags {})", names.join(" ")));
            }
        };
        plain.to_owned()
    }

    fn anonymous(&mut self, define: impl FnOnce(&mut Self) -> String) -> String {
        let definition = define(self);
        let n = self.next();
        writeln!(self.text, "(type $t{n} {definition})").unwrap();
        format!("$t{n}")
    }

    fn named(&mut self, define: impl FnOnce(&mut Self) -> String) -> String {
        let definition = define(self);
        let n = self.next();
        if self.inside {
            writeln!(
                self.text,
                "(type $d{n} {definition}) (export \"t{n}\" (type $t{n} (eq $d{n})))"
            )
            .unwrap();
        } else {
            writeln!(self.text, "(alias export $api \"t{n}\" (type $t{n}))").unwrap();
        }
        format!("$t{n}")
    }

    fn next(&mut self) -> usize {
        self.count += 1;
        self.count
    }
}
