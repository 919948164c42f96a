//! Resources: whose a handle is, what it stands for, and when it is released.

use std::sync::{Arc, Mutex};

use backplane::boundary::{
    Binding, StoreState,
    call::{Answer, CallError, Callee, Failure, FailureKind},
    imports::imports,
    link::{LinkedImport, LinkedResource, ResourceIdentity, define},
};
use backplane_abi::{CallContext, Exchange};
use backplane_wire::{Form, Writer};
use wasmtime::{
    Store,
    component::{Component, Linker, Val},
};

use crate::harness::{Data, block_on, engine};

/// `run(what)`: 0 makes and drops, 1 makes and traps, 2 makes and gives away, 3 makes and lends,
/// 4 lends an index that it does not have, 5 makes and lends to the second interface, 6 makes 20,000,
/// 7 makes three in a list and keeps them, 8 gives the same away twice, 9 drops twice.
const COMPONENT: &str = r#"(component
  (import "test:res/cells@1.0.0" (instance $cells
    (export "cell" (type $cell (sub resource)))
    (export "make" (func (result (own $cell))))
    (type $many (list (option (own $cell))))
    (export "make-many" (func (result $many)))
    (export "lend" (func (param "c" (borrow $cell)) (result u64)))
    (export "give" (func (param "c" (own $cell))))))
  (alias export $cells "cell" (type $cell))
  (import "test:res/users@1.0.0" (instance $users
    (alias outer 1 $cell (type $outer))
    (export "cell" (type $cell (eq $outer)))
    (export "look" (func (param "c" (borrow $cell)) (result u64)))))
  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 64))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $next (i32.add (global.get $next) (i32.add (local.get 3) (i32.const 8))))
      (i32.and (i32.sub (global.get $next) (local.get 3)) (i32.const -8))))
  (core instance $libc (instantiate $libc))
  (core func $drop (canon resource.drop $cell))
  (core func $make (canon lower (func $cells "make")))
  (core func $many (canon lower (func $cells "make-many") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $lend (canon lower (func $cells "lend")))
  (core func $give (canon lower (func $cells "give")))
  (core func $look (canon lower (func $users "look")))
  (core module $main
    (import "h" "drop" (func $drop (param i32)))
    (import "h" "make" (func $make (result i32)))
    (import "h" "many" (func $many (param i32)))
    (import "h" "lend" (func $lend (param i32) (result i64)))
    (import "h" "give" (func $give (param i32)))
    (import "h" "look" (func $look (param i32) (result i64)))
    (func (export "run") (param $what i32) (result i64)
      (local $cell i32) (local $count i32)
      (if (i32.eq (local.get $what) (i32.const 4)) (then (return (call $lend (i32.const 99)))))
      (if (i32.eq (local.get $what) (i32.const 7)) (then (call $many (i32.const 0)) (return (i64.const 3))))
      (if (i32.eq (local.get $what) (i32.const 6)) (then
        (loop $again
          (drop (call $make))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $count) (i32.const 20000))))
        (return (i64.const 0))))
      (local.set $cell (call $make))
      (if (i32.eq (local.get $what) (i32.const 0)) (then (call $drop (local.get $cell)) (return (i64.const 0))))
      (if (i32.eq (local.get $what) (i32.const 1)) (then unreachable))
      (if (i32.eq (local.get $what) (i32.const 2)) (then (call $give (local.get $cell)) (return (i64.const 0))))
      (if (i32.eq (local.get $what) (i32.const 3)) (then (return (call $lend (local.get $cell)))))
      (if (i32.eq (local.get $what) (i32.const 5)) (then (return (call $look (local.get $cell)))))
      (if (i32.eq (local.get $what) (i32.const 8)) (then (call $give (local.get $cell)) (call $give (local.get $cell))))
      (if (i32.eq (local.get $what) (i32.const 9)) (then (call $drop (local.get $cell)) (call $drop (local.get $cell))))
      (i64.const 0)))
  (core instance $main (instantiate $main (with "h" (instance
    (export "drop" (func $drop)) (export "make" (func $make)) (export "many" (func $many))
    (export "lend" (func $lend)) (export "give" (func $give)) (export "look" (func $look))))))
  (func (export "run") (param "what" u32) (result u64) (canon lift (core func $main "run"))))"#;

const FIRST: u64 = 0xfeed_0000_0000_0001;

/// Counts what it made, what came back, and what was released.
#[derive(Default)]
struct Ledger {
    made: u64,
    seen: Vec<u64>,
    given: Vec<u64>,
    released: Vec<(u32, u64)>,
}

#[derive(Clone, Default)]
struct Maker(Arc<Mutex<Ledger>>);

impl Callee for Maker {
    fn provider(&self) -> &str {
        "maker"
    }

    fn call(&self, function: u32, _: &CallContext, exchange: &mut Exchange) -> Answer {
        let mut ledger = self.0.lock().unwrap();
        let arguments = std::mem::take(&mut exchange.arguments);
        let mut out = Writer::new(Form::Local);
        let handle = || backplane_wire::Reader::new(&arguments, Form::Local).handle().unwrap();
        let make = |ledger: &mut Ledger| {
            ledger.made += 1;
            FIRST + ledger.made - 1
        };
        match function {
            0 => out.handle(make(&mut ledger)),
            1 => {
                out.length(4);
                out.bool(false);
                for _ in 0..3 {
                    out.bool(true);
                    out.handle(make(&mut ledger));
                }
            }
            2 | 4 => {
                ledger.seen.push(handle());
                out.u64(handle());
            }
            3 => ledger.given.push(handle()),
            _ => {
                let message = "no such function".to_owned();
                return Answer::failed(Failure { kind: FailureKind::Unimplemented, message });
            }
        }
        exchange.results = out.into_vec().into();
        Answer::Ready
    }

    fn drop_resource(&self, resource: u32, handle: u64) {
        self.0.lock().unwrap().released.push((resource, handle));
    }
}

/// Runs `run(what)`, with the second interface at the same binding or at another; the result and the
/// ledger after the store is gone.
fn run(what: u32, split: bool, concurrent: bool) -> (wasmtime::Result<Val>, Ledger) {
    let engine = engine(concurrent);
    let component = Component::new(&engine, wat::parse_str(COMPONENT).unwrap()).unwrap();
    let maker = Maker::default();
    let binding = Binding::new(Arc::new(maker.clone()));
    let other = Binding::new(Arc::new(maker.clone()));
    let found = imports(&engine, &component, |_| false).unwrap();
    let cell = LinkedResource {
        name: found[1].used_resources[0].resource.clone(),
        number: 7,
        identity: ResourceIdentity::unique(),
    };
    let mut linker = Linker::<Data>::new(&engine);
    for (index, import) in found.iter().enumerate() {
        let number = |name: &str| match name {
            "make" => 0,
            "make-many" => 1,
            "lend" => 2,
            "give" => 3,
            _ => 4,
        };
        let functions: Vec<_> = import
            .functions
            .iter()
            .map(|(name, ty)| (name.clone(), ty.clone(), number(name)))
            .collect();
        let linked = LinkedImport {
            name: &import.name,
            functions: &functions,
            defines: if index == 0 { std::slice::from_ref(&cell) } else { &[] },
            resources: std::slice::from_ref(&cell),
            binding: if index == 1 && split { &other } else { &binding },
        };
        define(&mut linker, &linked).unwrap();
    }
    let result = block_on(async {
        let mut store = Store::new(&engine, Data::new());
        let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
        let run = instance.get_func(&mut store, "run").unwrap();
        let mut results = [Val::Bool(false)];
        let called = run.call_async(&mut store, &[Val::U32(what)], &mut results).await;
        called.map(|()| results[0].clone())
    });
    let ledger = std::mem::take(&mut *maker.0.lock().unwrap());
    (result, ledger)
}

fn both_engines(check: impl Fn(bool)) {
    [false, true].into_iter().for_each(check);
}

#[test]
fn a_dropped_handle_is_released_once_with_its_type() {
    both_engines(|concurrent| {
        let (result, ledger) = run(0, false, concurrent);
        result.unwrap();
        assert_eq!(ledger.released, [(7, FIRST)]);
    });
}

#[test]
fn a_guest_that_traps_leaves_no_handle_behind() {
    both_engines(|concurrent| {
        let (result, ledger) = run(1, false, concurrent);
        assert!(result.is_err());
        assert_eq!((ledger.made, ledger.released), (1, vec![(7, FIRST)]));
    });
}

#[test]
fn a_handle_given_away_is_the_provider_s_to_release() {
    both_engines(|concurrent| {
        let (result, ledger) = run(2, false, concurrent);
        result.unwrap();
        assert_eq!((ledger.given, ledger.released.len()), (vec![FIRST], 0));
    });
}

#[test]
fn a_lent_handle_reaches_the_provider_as_its_own() {
    both_engines(|concurrent| {
        let (result, ledger) = run(3, false, concurrent);
        assert_eq!(result.unwrap(), Val::U64(FIRST));
        assert_eq!((ledger.seen, ledger.released.len()), (vec![FIRST], 1));
    });
}

#[test]
fn interfaces_of_one_group_share_their_handles() {
    let (result, _) = run(5, false, false);
    assert_eq!(result.unwrap(), Val::U64(FIRST));
}

#[test]
fn a_handle_of_another_binding_is_refused_before_the_provider_sees_it() {
    both_engines(|concurrent| {
        let (result, ledger) = run(5, true, concurrent);
        let error = result.unwrap_err();
        let call = error.downcast_ref::<CallError>().unwrap();
        assert_eq!((call.provider.as_str(), call.function.as_str()), ("maker", "look"));
        assert!(call.failure.message.contains("another provider"), "{}", call.failure);
        assert_eq!((ledger.seen.len(), ledger.released.len()), (0, 1));
    });
}

#[test]
fn an_index_that_the_guest_does_not_have_traps_it() {
    for what in [4, 8, 9] {
        both_engines(|concurrent| {
            let (result, ledger) = run(what, false, concurrent);
            assert!(result.is_err(), "{what}");
            assert!(ledger.seen.is_empty());
            assert!(ledger.released.len() + ledger.given.len() <= 1);
        });
    }
}

#[test]
fn handles_deep_in_a_result_are_kept_and_released() {
    both_engines(|concurrent| {
        let (result, mut ledger) = run(7, false, concurrent);
        assert_eq!(result.unwrap(), Val::U64(3));
        ledger.released.sort_unstable();
        assert_eq!(ledger.released, [(7, FIRST), (7, FIRST + 1), (7, FIRST + 2)]);
    });
}

#[test]
fn a_guest_holds_no_more_handles_than_it_may() {
    let (result, ledger) = run(6, false, false);
    let error = result.unwrap_err();
    assert!(format!("{error:#}").contains("resource handles, as many as it may"), "{error:#}");
    assert_eq!(ledger.made as usize, StoreState::MAX_HANDLES + 1);
    assert_eq!(ledger.released.len(), StoreState::MAX_HANDLES + 1);
}
