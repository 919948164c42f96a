//! A fault in the extension is a failure of the call, and of nothing else.

use std::task::Poll;

use backplane_sdk::{
    abi::{CallContext, Failed, FailureCode, Finished, async_ffi::FfiFuture},
    wire::{self, Encode, Form},
};

use crate::support::{Begun, Bound, Handle, poll};

#[track_caller]
fn failure(binding: &Bound<'_>, function: &str, arguments: &impl Encode) -> Failed {
    let function = format!("faults@1.0.0#{function}");
    let arguments = wire::to_vec(arguments, Form::Local);
    binding.call_bytes(&function, arguments, Form::Local).unwrap_err()
}

fn pending(binding: &Bound<'_>, function: &str, arguments: &impl Encode) -> FfiFuture<Finished> {
    let number = binding.loaded.function(&format!("faults@1.0.0#{function}"));
    let arguments = wire::to_vec(arguments, Form::Local);
    match binding.start(number, arguments, &CallContext::default()) {
        Begun::Pending(future) => future,
        Begun::Ready(_) | Begun::Failed(_) => panic!("`{function}` should wait"),
    }
}

fn waiting(binding: &Bound<'_>) -> u32 {
    binding.call("faults@1.0.0#waiting", &()).unwrap()
}

#[test]
fn a_panic_is_a_failure_with_its_text() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    for function in ["panic", "panic-later"] {
        let failed = failure(&binding, function, &("out of cheese",));
        assert_eq!(failed.code, FailureCode::PANICKED);
        assert_eq!(failed.message, "panicked: out of cheese");
    }
    let failed = failure(&binding, "panic-any", &());
    assert_eq!(failed.message, "panicked: with a value that is no text");
    let answer: String = binding.call("echo@1.0.0#echo-string", &("still here",)).unwrap();
    assert_eq!(answer, "still here");
}

#[test]
fn a_failure_keeps_its_kind_and_message() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    for code in 0..=6_u8 {
        let failed = failure(&binding, "fail", &(code, "the disk is full"));
        assert_eq!((failed.code, failed.message.as_str()), (u32::from(code), "the disk is full"));
    }
    assert_eq!(failure(&binding, "fail-later", &("later",)).message, "later");
}

#[test]
fn an_unknown_function_is_unimplemented() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    match binding.start(9999, Vec::new(), &CallContext::default()) {
        Begun::Failed(failed) => assert_eq!(failed.code, FailureCode::UNIMPLEMENTED),
        Begun::Ready(_) | Begun::Pending(_) => panic!("there is no such function"),
    }
}

#[test]
fn arguments_that_do_not_decode_name_the_function_and_the_byte() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    let cases: [(&str, &[u8], &str); 4] = [
        ("echo-bool", &[2], "byte 0: expected 0 or 1, found 2"),
        ("echo-string", &[5, b'a'], "byte 0: a list of 5 elements, but only 1 bytes are left"),
        ("echo-u8", &[1, 2], "byte 1: 1 bytes follow the value"),
        ("echo-kind", &[3], "byte 0: case 3 of a type with 3 cases"),
    ];
    for (function, bytes, expected) in cases {
        let name = format!("echo@1.0.0#{function}");
        let failed = binding.call_bytes(&name, bytes.to_vec(), Form::Local).unwrap_err();
        assert_eq!(failed.code, FailureCode::BAD_ARGUMENTS);
        let prefix = "arguments of `probe:types/echo@1.0.0` function";
        assert_eq!(failed.message, format!("{prefix} `{function}`: malformed value at {expected}"));
    }
}

#[test]
fn a_dropped_future_is_a_cancelled_call() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    let mut futures: Vec<_> = (0..3).map(|_| pending(&binding, "never", &())).collect();
    assert_eq!(waiting(&binding), 3);
    assert!(futures.iter_mut().all(|future| poll(future).is_pending()));
    futures.pop();
    assert_eq!(waiting(&binding), 2);
    drop(futures);
    assert_eq!(waiting(&binding), 0);
}

#[test]
fn a_panic_in_a_cancelled_call_stays_in_the_extension() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    drop(pending(&binding, "never-and-panic", &()));
    assert_eq!(waiting(&binding), 0);
}

#[test]
fn a_future_outlives_its_binding_without_harm() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    let mut future = pending(&binding, "never", &());
    binding.unbind();
    assert!(matches!(poll(&mut future), Poll::Pending));
    drop(future);
}

#[test]
fn calls_run_in_the_extensions_own_runtime() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    assert_eq!(binding.call::<u32>("faults@1.0.0#sleep", &(1_u32,)).unwrap(), 1);
    assert_eq!(binding.call::<u32>("faults@1.0.0#spawned", &(2_u32,)).unwrap(), 2);
    let mut future = pending(&binding, "sleep", &(1_u32,));
    // Whoever polls: no thread of a runtime need do it.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while poll(&mut future).is_pending() {
        assert!(std::time::Instant::now() < deadline, "the sleep never ends");
        std::thread::yield_now();
    }
}

#[test]
fn a_handler_encodes_its_answer_itself_where_it_was_asked_to() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    let answer = |function: &str| {
        let function = format!("faults@1.0.0#{function}");
        binding.call_bytes(&function, Vec::new(), Form::Local).unwrap()
    };
    assert!(wire::from_slice::<&str>(&answer("malformed-string"), Form::Local).is_err());
    assert!(wire::from_slice::<(u32, u32)>(&answer("truncated"), Form::Local).is_err());
    assert!(wire::from_slice::<u32>(&answer("trailing"), Form::Local).is_err());
    assert!(wire::from_slice::<Vec<u32>>(&answer("endless-list"), Form::Local).is_err());
    assert_eq!(answer("no-such-case"), [5]);
}

#[test]
fn a_method_of_an_awaited_resource_answers_later() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    let clock: Handle = binding.call("concurrent@1.0.0#[constructor]clock", &(5_u32,)).unwrap();
    for expected in [5, 10] {
        let tick: u32 = binding.call("concurrent@1.0.0#[method]clock.tick", &(clock,)).unwrap();
        assert_eq!(tick, expected);
    }
}
