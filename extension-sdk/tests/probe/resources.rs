//! Handles live as long as their resources, and no longer.

use std::sync::{Mutex, MutexGuard, PoisonError};

use backplane_sdk::{
    abi::{CallContext, FailureCode},
    wire::{self, Form},
};

use crate::support::{Begun, Bound, Handle, Loaded, poll};

/// The probe counts things across all bindings, so that these tests take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn live(binding: &Bound<'_>) -> u32 {
    binding.call("resources@1.0.0#live", &()).unwrap()
}

fn thing(binding: &Bound<'_>, label: &str) -> Handle {
    binding.call("/resources@1.0.0#[constructor]thing", &(label,)).unwrap()
}

fn label(binding: &Bound<'_>, thing: Handle) -> Result<String, u32> {
    binding.call("/resources@1.0.0#[method]thing.label", &(thing,)).map_err(|failed| failed.code)
}

fn drop_thing(binding: &Bound<'_>, thing: Handle) {
    binding.drop_resource(binding.loaded.resource("/resources@1.0.0#thing"), thing.0);
}

#[test]
fn a_resource_is_made_used_and_dropped() {
    let _turn = turn();
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    let before = live(&binding);
    let one = thing(&binding, "one");
    assert_eq!(live(&binding), before + 1);
    assert_eq!(label(&binding, one).unwrap(), "one");
    let call = binding.call::<()>("/resources@1.0.0#[method]thing.set-label", &(one, "two"));
    call.unwrap();
    let joined: Handle = binding.call("/resources@1.0.0#[static]thing.join", &(one, one)).unwrap();
    assert_eq!(label(&binding, joined).unwrap(), "twotwo");
    drop_thing(&binding, one);
    drop_thing(&binding, joined);
    assert_eq!(live(&binding), before);
    assert_eq!(label(&binding, one), Err(FailureCode::BAD_ARGUMENTS));
    // A second drop, and a drop of what never was, are ignored.
    drop_thing(&binding, one);
    drop_thing(&binding, Handle(u64::MAX));
}

#[test]
fn stale_foreign_and_mistyped_handles_are_refused() {
    let _turn = turn();
    let loaded = crate::probe();
    let (binding, other) = (loaded.bind("{}").unwrap(), loaded.bind("{}").unwrap());
    let mine = thing(&binding, "mine");
    let theirs = thing(&other, "theirs");
    assert_eq!(label(&binding, theirs), Err(FailureCode::BAD_ARGUMENTS));
    assert_eq!(label(&other, mine), Err(FailureCode::BAD_ARGUMENTS));
    let bomb: Handle = binding.call("/resources@1.0.0#[constructor]bomb", &()).unwrap();
    assert_eq!(label(&binding, bomb), Err(FailureCode::BAD_ARGUMENTS));
    for handle in [0, 1, u64::from(u32::MAX), u64::MAX, mine.0 ^ 1 << 32, mine.0 ^ 1 << 20] {
        assert_eq!(label(&binding, Handle(handle)), Err(FailureCode::BAD_ARGUMENTS));
    }
    drop_thing(&binding, mine);
    let again = thing(&binding, "again");
    assert_eq!(again.0 as u32, mine.0 as u32, "the slot is used again");
    assert_eq!(label(&binding, mine), Err(FailureCode::BAD_ARGUMENTS));
    assert_eq!(label(&binding, again).unwrap(), "again");
}

#[test]
fn a_group_of_interfaces_shares_its_resource() {
    let _turn = turn();
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    let before = live(&binding);
    let one = thing(&binding, "one");
    let rename = "more-resources@1.0.0#rename";
    assert_eq!(binding.call::<String>(rename, &(one, "two")).unwrap(), "one");
    let copy: Handle = binding.call("more-resources@1.0.0#copy", &(one,)).unwrap();
    assert_eq!(label(&binding, copy).unwrap(), "two");
    let consume = "more-resources@1.0.0#consume";
    assert_eq!(binding.call::<String>(consume, &(copy,)).unwrap(), "two");
    assert_eq!(binding.call::<String>("/resources@1.0.0#consume", &(one,)).unwrap(), "two");
    assert_eq!(live(&binding), before);
}

#[test]
fn handles_travel_inside_of_other_values() {
    let _turn = turn();
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    let before = live(&binding);
    let things: Vec<Handle> = binding.call("/resources@1.0.0#make-many", &(100_u32,)).unwrap();
    assert_eq!(live(&binding), before + 100);
    let labels: Vec<String> = binding.call("/resources@1.0.0#labels", &(things.clone(),)).unwrap();
    assert_eq!(labels, (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
    let maybe = "/resources@1.0.0#label-of-maybe";
    assert_eq!(binding.call::<Option<String>>(maybe, &(Some(things[3]),)).unwrap().unwrap(), "3");
    let labels: Vec<String> = binding.call("/resources@1.0.0#consume-many", &(things,)).unwrap();
    assert_eq!(labels.len(), 100);
    let (text, handle): (String, Handle) =
        binding.call("/resources@1.0.0#make-labelled", &("a",)).unwrap();
    let consumed = binding.call::<String>("/resources@1.0.0#consume-labelled", &(text, handle));
    assert_eq!(consumed.unwrap(), "aa");
    let passed = thing(&binding, "passed");
    let passed: Handle = binding.call("/resources@1.0.0#pass", &(passed,)).unwrap();
    assert_eq!(label(&binding, passed).unwrap(), "passed");
    drop_thing(&binding, passed);
    assert_eq!(live(&binding), before);
}

#[test]
fn a_list_with_one_dead_handle_is_refused_and_nothing_leaks() {
    let _turn = turn();
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    let before = live(&binding);
    let (alive, dead) = (thing(&binding, "alive"), thing(&binding, "dead"));
    drop_thing(&binding, dead);
    let call = binding.call::<Vec<String>>("/resources@1.0.0#consume-many", &(vec![alive, dead],));
    assert_eq!(call.unwrap_err().code, FailureCode::BAD_ARGUMENTS);
    assert_eq!(live(&binding), before);
}

#[test]
fn what_a_failed_call_has_made_is_dropped() {
    let _turn = turn();
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    let before = live(&binding);
    let call = binding.call::<Vec<Handle>>("/resources@1.0.0#make-then-fail", &(10_u32,));
    assert_eq!(call.unwrap_err().message, "fails with 10 things made");
    assert_eq!(live(&binding), before);
}

#[test]
fn a_resource_dropped_during_a_call_lives_until_its_end() {
    let _turn = turn();
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    let before = live(&binding);
    let thing = thing(&binding, "lent");
    let number = loaded.function("/resources@1.0.0#label-later");
    let arguments = wire::to_vec(&(thing,), Form::Local);
    let Begun::Pending(mut future) = binding.start(number, arguments, &CallContext::default())
    else {
        panic!("the call waits")
    };
    drop_thing(&binding, thing);
    assert!(poll(&mut future).is_pending());
    assert_eq!(live(&binding), before + 1);
    let answer = crate::support::finish(future).unwrap();
    assert_eq!(wire::from_slice::<&str>(&answer, Form::Local), Ok("lent"));
    assert_eq!(live(&binding), before);
}

#[test]
fn the_end_of_a_binding_drops_what_its_workload_has_left() {
    let _turn = turn();
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    let before = live(&binding);
    // Two destructors that panic: each is caught by itself.
    for _ in 0..2 {
        let _: Vec<Handle> = binding.call("/resources@1.0.0#make-many", &(10_u32,)).unwrap();
        let _: Handle = binding.call("/resources@1.0.0#[constructor]bomb", &()).unwrap();
    }
    binding.unbind();
    let binding = loaded.bind("{}").unwrap();
    assert_eq!(live(&binding), before);
    binding.unbind();
    loaded.shutdown();
}

#[test]
fn a_panic_in_a_destructor_stays_in_the_extension() {
    let loaded: Loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    let bomb: Handle = binding.call("/resources@1.0.0#[constructor]bomb", &()).unwrap();
    assert!(binding.call::<bool>("/resources@1.0.0#[method]bomb.ticks", &(bomb,)).unwrap());
    binding.drop_resource(loaded.resource("/resources@1.0.0#bomb"), bomb.0);
    assert!(binding.call::<bool>("/resources@1.0.0#[method]bomb.ticks", &(bomb,)).is_err());
}

#[test]
fn many_threads_make_and_drop_resources_at_once() {
    const ROUNDS: u32 = if cfg!(miri) { 10 } else { 200 };
    let _turn = turn();
    let loaded = crate::probe();
    let binding = Shared(loaded.bind("{}").unwrap());
    let before = live(&binding.0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let binding = &binding;
                for round in 0..ROUNDS {
                    let handle = thing(&binding.0, &round.to_string());
                    assert_eq!(label(&binding.0, handle).unwrap(), round.to_string());
                    drop_thing(&binding.0, handle);
                    assert_eq!(label(&binding.0, handle), Err(FailureCode::BAD_ARGUMENTS));
                }
            });
        }
    });
    assert_eq!(live(&binding.0), before);
}

struct Shared<'a>(Bound<'a>);

// SAFETY: the functions of the module may be called from several threads at once.
unsafe impl Sync for Shared<'_> {}
