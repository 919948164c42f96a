//! Guests that do what no compiler would have them do: each is a trap of that guest, told by what was
//! wrong, and nothing else. What is above handles is in `resources`.

use std::sync::Arc;

use backplane::boundary::{
    Binding,
    call::CallError,
    imports::imports,
    link::{LinkedImport, define},
};
use wasmtime::{
    Engine, Store,
    component::{Component, Linker},
};

use crate::{
    generate::{Encoding, Lowering},
    harness::{Data, Recorder, Shared, block_on, engine},
};

/// Bytes that a host call may copy for a guest in these tests.
const FUEL: usize = 1 << 20;

/// A guest with one page of memory, which calls `f` once. By default its `realloc` gives out memory from
/// 32 KiB on.
struct Guest {
    /// What it does.
    does: &'static str,
    /// Types that `f` is made of, inside of an instance's type.
    types: &'static str,
    /// `f`'s parameters and result.
    function: &'static str,
    /// The flat types of its parameters.
    flat: &'static [&'static str],
    /// What it passes.
    passes: &'static str,
    /// What it does before.
    before: &'static str,
    /// What is in its memory.
    memory: &'static str,
    encoding: Encoding,
    /// Where it wants the result, if in memory.
    wants: Option<i32>,
    /// Its `realloc`.
    realloc: &'static str,
    /// What `f` answers.
    answer: &'static [u8],
    /// What the trap says; empty where it is none.
    trap: &'static str,
    /// What `f` gets, if it is called.
    gets: Option<&'static [u8]>,
}

const PLAIN: Guest = Guest {
    does: "",
    types: "",
    function: "",
    flat: &[],
    passes: "",
    before: "",
    memory: "",
    encoding: Encoding::Utf8,
    wants: None,
    realloc: "(global.set $next (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16))) (global.get $next) (global.set $next (i32.add (global.get $next) (local.get 3)))",
    answer: &[],
    trap: "",
    gets: None,
};

const OUTSIDE: &str = "outside of the memory";
const PAIR: &[&str] = &["i32", "i32"];
const STRING: &str = r#"(param "x" string)"#;
const LIST: &str = r#"(param "x" $t)"#;

/// Passes a string.
const fn string(does: &'static str, passes: &'static str, trap: &'static str) -> Guest {
    Guest { does, function: STRING, flat: PAIR, passes, trap, ..PLAIN }
}

/// Passes a list.
const fn list(
    does: &'static str,
    types: &'static str,
    passes: &'static str,
    trap: &'static str,
) -> Guest {
    Guest { does, types, function: LIST, flat: PAIR, passes, trap, ..PLAIN }
}

/// Passes a value that is one flat number.
const fn scalar(
    does: &'static str,
    types: &'static str,
    passes: &'static str,
    trap: &'static str,
) -> Guest {
    Guest { does, types, function: LIST, flat: &["i32"], passes, trap, ..PLAIN }
}

/// Gets a result that it has no good place for.
const fn result(
    does: &'static str,
    types: &'static str,
    wants: Option<i32>,
    answer: &'static [u8],
    trap: &'static str,
) -> Guest {
    Guest { does, types, function: "(result $t)", wants, answer, trap, gets: Some(&[]), ..PLAIN }
}

const BYTES: &str = "(type $t (list u8))";
const WORDS: &str = "(type $t (list u64))";
const TEXT: &str = "(type $t string)";
const STRINGS: &str = "(type $t (list string))";
const CHARS: &str = "(type $t (list char))";
const OPTIONS: &str = "(type $o (option u8)) (type $t (list $o))";
const RESULTS: &str = "(type $r (result u8 (error u8))) (type $t (list $r))";
const THREE: &str =
    r#"(type $d (variant (case "a") (case "b" u8) (case "c"))) (export "v" (type $v (eq $d)))"#;
const LISTS: &str = "(type $i (list u8)) (type $t (list $i))";

fn guests() -> Vec<Guest> {
    let variants: &'static str = Box::leak(format!("{THREE} (type $t (list $v))").into());
    let names: String = (0..300).map(|name| format!(" \"n{name}\"")).collect();
    let enumeration: &'static str =
        Box::leak(format!("(type $d (enum{names})) (export \"e\" (type $t (eq $d)))").into());
    let enumerations: &'static str = Box::leak(
        format!("(type $d (enum{names})) (export \"e\" (type $e (eq $d))) (type $t (list $e))")
            .into(),
    );
    let many: &'static str =
        Box::leak((0..17).map(|n| format!("(param \"p{n}\" u32)")).collect::<String>().into());
    let spilled =
        |does, passes, trap| Guest { does, function: many, flat: &["i32"], passes, trap, ..PLAIN };
    let mut guests = vec![
        // Pointers and lengths.
        string(
            "that passes a string that ends past its memory",
            "(i32.const 65530) (i32.const 7)",
            OUTSIDE,
        ),
        string(
            "that passes a string that begins past its memory",
            "(i32.const 65537) (i32.const 0)",
            OUTSIDE,
        ),
        string(
            "that passes a string whose end is past 2^32",
            "(i32.const -16) (i32.const 32)",
            OUTSIDE,
        ),
        string("that passes a string of 2^32 - 1 bytes", "(i32.const 0) (i32.const -1)", OUTSIDE),
        list("that passes 2^32 - 1 bytes", BYTES, "(i32.const 0) (i32.const -1)", OUTSIDE),
        list(
            "that passes a list of 2^32 bytes",
            WORDS,
            "(i32.const 0) (i32.const 0x20000000)",
            OUTSIDE,
        ),
        list(
            "that passes a list of 2^32 + 8 bytes",
            WORDS,
            "(i32.const 0) (i32.const 0x20000001)",
            OUTSIDE,
        ),
        list(
            "that passes numbers past its memory",
            WORDS,
            "(i32.const 65536) (i32.const 1)",
            OUTSIDE,
        ),
        list(
            "that passes numbers at 4 that need 8",
            WORDS,
            "(i32.const 4) (i32.const 1)",
            "not aligned",
        ),
        list("that passes no numbers, at 4", WORDS, "(i32.const 4) (i32.const 0)", "not aligned"),
        list(
            "that passes strings that are not aligned",
            STRINGS,
            "(i32.const 2) (i32.const 1)",
            "not aligned",
        ),
        list(
            "that passes strings past its memory",
            STRINGS,
            "(i32.const 65532) (i32.const 1)",
            OUTSIDE,
        ),
        list(
            "that passes more strings than there can be",
            STRINGS,
            "(i32.const 0) (i32.const -1)",
            OUTSIDE,
        ),
        Guest {
            memory: r#"(data (i32.const 16) "\00\00\ff\ff\01\00\00\00")"#,
            ..list(
                "that passes a list with a string past its memory",
                STRINGS,
                "(i32.const 16) (i32.const 1)",
                OUTSIDE,
            )
        },
        Guest {
            // 4,000 lists that are all the same 60,000 bytes: 240 MB of 32 KB.
            before: "(loop $next (i32.store (local.get 0) (i32.const 0)) (i32.store offset=4 (local.get 0) (i32.const 60000)) (local.set 0 (i32.add (local.get 0) (i32.const 8))) (br_if $next (i32.lt_u (local.get 0) (i32.const 32000))))",
            ..list(
                "that passes the same bytes four thousand times",
                LISTS,
                "(i32.const 0) (i32.const 4000)",
                "fuel allocated for hostcalls has been exhausted",
            )
        },
        // Values that are none.
        Guest {
            memory: r#"(data (i32.const 0) "ab\ff\fe")"#,
            ..string(
                "that passes a string that is not UTF-8",
                "(i32.const 0) (i32.const 4)",
                "utf-8",
            )
        },
        Guest {
            memory: r#"(data (i32.const 0) "\e2\82\ac")"#,
            ..string(
                "that passes a string that is cut inside of a character",
                "(i32.const 0) (i32.const 2)",
                "utf-8",
            )
        },
        Guest {
            encoding: Encoding::Utf16,
            memory: r#"(data (i32.const 0) "a\00\00\d8")"#,
            ..string(
                "that passes half of a UTF-16 pair",
                "(i32.const 0) (i32.const 2)",
                "unpaired surrogate",
            )
        },
        Guest {
            encoding: Encoding::Utf16,
            ..string(
                "that passes UTF-16 at an odd place",
                "(i32.const 1) (i32.const 1)",
                "not aligned",
            )
        },
        Guest {
            encoding: Encoding::Utf16,
            ..string(
                "that passes 2^31 units of UTF-16",
                "(i32.const 0) (i32.const 0x80000000)",
                OUTSIDE,
            )
        },
        Guest {
            encoding: Encoding::CompactUtf16,
            memory: r#"(data (i32.const 0) "\00\dc")"#,
            ..string(
                "that passes half of a pair, said to be UTF-16",
                "(i32.const 0) (i32.const 0x80000001)",
                "unpaired surrogate",
            )
        },
        Guest {
            encoding: Encoding::CompactUtf16,
            ..string(
                "that passes Latin-1 at an odd place",
                "(i32.const 3) (i32.const 1)",
                "not aligned",
            )
        },
        Guest {
            encoding: Encoding::CompactUtf16,
            ..string(
                "that passes 2^31 - 1 units, said to be UTF-16",
                "(i32.const 0) (i32.const -1)",
                OUTSIDE,
            )
        },
        scalar(
            "that passes a surrogate for a char",
            "(type $t char)",
            "(i32.const 0xd800)",
            "0xd800 is not a Unicode scalar value",
        ),
        scalar(
            "that passes a char past the last",
            "(type $t char)",
            "(i32.const 0x110000)",
            "0x110000 is not a Unicode scalar value",
        ),
        scalar(
            "that passes -1 for a char",
            "(type $t char)",
            "(i32.const -1)",
            "0xffffffff is not",
        ),
        Guest {
            memory: r#"(data (i32.const 0) "a\00\00\00\00\dc\00\00")"#,
            ..list(
                "that passes a list with a surrogate in it",
                CHARS,
                "(i32.const 0) (i32.const 2)",
                "0xdc00 is not",
            )
        },
        scalar(
            "that passes case 300 of an enum of 300",
            enumeration,
            "(i32.const 300)",
            "discriminant 300 of a type with 300 cases",
        ),
        scalar(
            "that passes case -1 of an enum",
            enumeration,
            "(i32.const -1)",
            "discriminant 4294967295",
        ),
        Guest {
            memory: r#"(data (i32.const 0) "\2c\01")"#,
            ..list(
                "that passes a list with case 300 of an enum of 300",
                enumerations,
                "(i32.const 0) (i32.const 1)",
                "discriminant 300",
            )
        },
        Guest {
            memory: r#"(data (i32.const 0) "\03\00")"#,
            ..list(
                "that passes a list with case 3 of a variant of 3",
                variants,
                "(i32.const 0) (i32.const 1)",
                "discriminant 3 of a type with 3 cases",
            )
        },
        Guest {
            types: Box::leak(format!("{THREE} (type $t (tuple $v))").into()),
            function: LIST,
            flat: PAIR,
            ..scalar(
                "that passes case 3 of a variant of 3",
                "",
                "(i32.const 3) (i32.const 0)",
                "discriminant 3",
            )
        },
        Guest {
            types: "(type $t (option u8))",
            function: LIST,
            flat: PAIR,
            ..scalar(
                "that passes case 2 of an option",
                "",
                "(i32.const 2) (i32.const 0)",
                "discriminant 2 of a type with 2 cases",
            )
        },
        Guest {
            types: "(type $t (result u8 (error u8)))",
            function: LIST,
            flat: PAIR,
            ..scalar(
                "that passes case 2 of a result",
                "",
                "(i32.const 2) (i32.const 0)",
                "discriminant 2",
            )
        },
        Guest {
            memory: r#"(data (i32.const 0) "\02\00")"#,
            ..list(
                "that passes a list with case 2 of an option",
                OPTIONS,
                "(i32.const 0) (i32.const 1)",
                "discriminant 2",
            )
        },
        Guest {
            memory: r#"(data (i32.const 0) "\ff\00")"#,
            ..list(
                "that passes a list with case 255 of a result",
                RESULTS,
                "(i32.const 0) (i32.const 1)",
                "discriminant 255",
            )
        },
        // What the canonical ABI lets pass, and what it makes of it.
        Guest {
            gets: Some(&[1]),
            ..scalar("that passes 2 for true", "(type $t bool)", "(i32.const 2)", "")
        },
        Guest {
            gets: Some(&[0xff]),
            ..scalar(
                "that passes more than a byte for a byte",
                "(type $t u8)",
                "(i32.const 0x7fff)",
                "",
            )
        },
        Guest {
            gets: Some(&[0b101]),
            ..scalar(
                "that passes flags that have no name",
                r#"(type $d (flags "a" "b" "c")) (export "w" (type $t (eq $d)))"#,
                "(i32.const 0xfd)",
                "",
            )
        },
        // Parameters in memory.
        spilled("that passes parameters that are not aligned", "(i32.const 2)", "not aligned"),
        spilled(
            "that passes parameters that end past its memory",
            "(i32.const 65500)",
            "out of bounds",
        ),
        spilled("that passes parameters whose end is past 2^32", "(i32.const -4)", "out of bounds"),
        // Places for results.
        result("that wants a string at an odd place", TEXT, Some(1), b"\x02ab", "not aligned"),
        result(
            "that wants a string past its memory",
            TEXT,
            Some(65532),
            b"\x02ab",
            "out of bounds",
        ),
        result("that wants a string at 2^32 - 4", TEXT, Some(-4), b"\x02ab", "out of bounds"),
    ];
    // `realloc` that lies, or traps.
    let lies = [
        (
            "whose `realloc` gives a place past its memory",
            "(i32.const 131072)",
            "beyond end of memory",
        ),
        (
            "whose `realloc` gives the end of its memory",
            "(i32.const 65536)",
            "beyond end of memory",
        ),
        ("whose `realloc` gives 2^32 - 8", "(i32.const -8)", "beyond end of memory"),
        ("whose `realloc` traps", "unreachable", "unreachable"),
        (
            "whose `realloc` never ends in its stack",
            "(call $self (local.get 0) (local.get 1) (local.get 2) (local.get 3))",
            "call stack exhausted",
        ),
    ];
    for (does, realloc, trap) in lies {
        let text = result(does, TEXT, Some(64), b"\x02ab", trap);
        let numbers = result(does, WORDS, Some(64), &[7; 16], trap);
        let strings = result(does, STRINGS, Some(64), b"\x02\x01a\x01b", trap);
        guests.extend([text, numbers, strings].map(|guest| Guest { realloc, ..guest }));
    }
    guests.push(Guest {
        realloc: "(i32.const 68)",
        ..result("whose `realloc` does not align", WORDS, Some(64), &[7; 16], "not aligned")
    });
    guests.push(Guest {
        // Where the result goes, too: the guest has what it asked for, and nobody else has it.
        realloc: "(i32.const 64)",
        ..result(
            "whose `realloc` gives what it has given",
            STRINGS,
            Some(64),
            b"\x02\x01a\x01b",
            "",
        )
    });
    guests.push(Guest {
        realloc: "(drop (memory.grow (i32.const 1))) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 64))",
        ..result("whose `realloc` grows its memory each time", STRINGS, Some(64), b"\x02\x01a\x01b", "")
    });
    guests
}

impl Guest {
    fn text(&self, lowering: Lowering) -> String {
        let Self { types, function, passes, before, memory, realloc, .. } = self;
        let is_async = if lowering == Lowering::Async { "async" } else { "" };
        let encoding = match self.encoding {
            Encoding::Utf8 => "utf8",
            Encoding::Utf16 => "utf16",
            Encoding::CompactUtf16 => "latin1+utf16",
        };
        let place = self.wants.map(|place| format!("(i32.const {place})")).unwrap_or_default();
        let mut flat = self.flat.to_vec();
        flat.extend(self.wants.map(|_| "i32"));
        let flat = flat.join(" ");
        let (status, ignore) = match lowering {
            Lowering::Async => ("(result i32)", "drop"),
            Lowering::Sync => ("", ""),
        };
        format!(
            r#"(component
  (import "test:gen/api@1.0.0" (instance $api {types} (export "f" (func {is_async} {function}))))
  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 32768))
    (func $self (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc}))
  (core instance $libc (instantiate $libc))
  (core func $f (canon lower (func $api "f") {is_async} (memory (core memory $libc "memory"))
    (realloc (core func $libc "realloc")) string-encoding={encoding}))
  (core module $main
    (import "host" "f" (func $f (param {flat}) {status}))
    (import "libc" "memory" (memory 1))
    {memory}
    (func (export "run") (local i32) {before} {passes} {place} (call $f) {ignore}))
  (core instance $main (instantiate $main
    (with "host" (instance (export "f" (func $f))))
    (with "libc" (instance $libc))))
  (func (export "run") (canon lift (core func $main "run"))))"#
        )
    }

    /// Runs it, and whoever else is on the same host: what they are seen to do.
    fn check(&self, engine: &Engine, lowering: Lowering) {
        let does = self.does;
        let recorder = Arc::new(Recorder::default());
        *recorder.answer.lock().unwrap() = self.answer.to_vec();
        let neighbour = Run::new(engine, &well_behaved(lowering), &recorder, does);
        let hostile = Run::new(engine, &self.text(lowering), &recorder, does);
        *recorder.arguments.lock().unwrap() = b"not called".to_vec();
        let ran = hostile.run();
        let got = recorder.arguments.lock().unwrap().clone();
        match (&ran, self.trap) {
            (Ok(()), "") => {}
            (Ok(()), trap) => panic!("a guest {does} was not trapped: {trap}"),
            (Err(error), "") => panic!("a guest {does} was trapped: {error:?}"),
            (Err(error), trap) => {
                let said = format!("{error:?}").to_lowercase();
                assert!(said.contains(&trap.to_lowercase()), "a guest {does}: {error:?}");
                // It is the guest's fault, and must not be the provider's.
                assert!(error.downcast_ref::<CallError>().is_none(), "a guest {does}: {error:?}");
            }
        }
        // The place of a result is looked at before the call, or after it: both are right.
        match self.gets {
            Some(gets) if ran.is_ok() => assert_eq!(got, gets, "a guest {does}"),
            None => assert_eq!(got, b"not called", "a guest {does}"),
            Some(gets) => {
                assert!(got == gets || got == b"not called", "a guest {does}: {got:?}")
            }
        }
        recorder.answer.lock().unwrap().clear();
        neighbour.run().unwrap_or_else(|error| panic!("beside a guest {does}: {error:?}"));
        assert_eq!(*recorder.arguments.lock().unwrap(), [7], "beside a guest {does}");
    }
}

/// A guest that passes 7.
fn well_behaved(lowering: Lowering) -> String {
    let types = "(type $t u8)";
    scalar("that passes 7", types, "(i32.const 7)", "").text(lowering)
}

/// A component in a store of its own, called once.
struct Run {
    store: Store<Data>,
    component: Component,
    linker: Linker<Data>,
}

impl Run {
    fn new(engine: &Engine, text: &str, recorder: &Arc<Recorder>, does: &str) -> Self {
        let bytes = wat::parse_str(text).unwrap_or_else(|error| panic!("{does}: {error}\n{text}"));
        let component = Component::new(engine, bytes)
            .unwrap_or_else(|error| panic!("{does}: {error:#}\n{text}"));
        let found = imports(engine, &component, |_| false).unwrap();
        let functions: Vec<_> =
            found[0].functions.iter().map(|(name, ty)| (name.clone(), ty.clone(), 0)).collect();
        let mut linker = Linker::<Data>::new(engine);
        let import = LinkedImport {
            name: &found[0].name,
            functions: &functions,
            defines: &[],
            resources: &[],
            binding: &Binding::new(Arc::new(Shared(Arc::clone(recorder)))),
        };
        define(&mut linker, &import).unwrap();
        let mut store = Store::new(engine, Data::new());
        store.set_hostcall_fuel(FUEL);
        Self { store, component, linker }
    }

    fn run(mut self) -> wasmtime::Result<()> {
        block_on(async {
            let instance =
                self.linker.instantiate_async(&mut self.store, &self.component).await.unwrap();
            let run = instance.get_func(&mut self.store, "run").unwrap();
            run.call_async(&mut self.store, &[], &mut []).await
        })
    }
}

/// Runs them all, lowered in every way there is; how many were held.
pub fn hold_all() -> usize {
    let mut held = 0;
    for guest in guests() {
        for (concurrent, lowering) in
            [(false, Lowering::Sync), (true, Lowering::Sync), (true, Lowering::Async)]
        {
            guest.check(&engine(concurrent), lowering);
            held += 1;
        }
    }
    held
}
