//! Config, binding, and what an extension asks of its host.

use backplane_sdk::{
    abi::{CallContext, FailureCode, MetricKind},
    wire::{self, Form},
};

use crate::support::{Begun, Loaded};

fn refused(config: &str) -> String {
    match Loaded::new(probe::module(), config) {
        Ok(_) => panic!("`{config}` should be refused"),
        Err(failed) => failed.message.into(),
    }
}

#[test]
fn config_reaches_the_extension_and_the_binding() {
    let loaded = Loaded::new(probe::module(), r#"{"greeting": "hello"}"#).unwrap();
    let binding = loaded.bind(r#"{"label": "there"}"#).unwrap();
    let configured: (String, String) = binding.call("faults@1.0.0#configured", &()).unwrap();
    assert_eq!(configured, ("hello".to_owned(), "there".to_owned()));
    binding.unbind();
    loaded.shutdown();
}

#[test]
fn a_wrong_config_names_the_key_and_the_choices() {
    assert_eq!(
        refused(r#"{"greting": "x"}"#),
        "config: key `greting`: unknown field `greting`, expected one of `create`, `shutdown`, `greeting`"
    );
    assert_eq!(
        refused(r#"{"greeting": 5}"#),
        "config: key `greeting`: invalid type: integer `5`, expected a string"
    );
    assert_eq!(
        refused(r#"{"create": "explode"}"#),
        "config: key `create`: unknown variant `explode`, expected one of `work`, `fail`, `panic`"
    );
    let loaded = crate::probe();
    let failed = loaded.bind(r#"{"lable": "x"}"#).err().unwrap();
    assert!(
        failed.message.starts_with("config of the link: key `lable`: unknown field"),
        "{failed:?}"
    );
}

#[test]
fn a_failure_or_panic_in_create_and_bind_is_reported() {
    assert_eq!(refused(r#"{"create": "fail"}"#), "create fails, as configured");
    assert_eq!(refused(r#"{"create": "panic"}"#), "panicked: create panics, as configured");
    let loaded = crate::probe();
    let failed = loaded.bind(r#"{"bind": "panic", "bind-milliseconds": 1}"#);
    assert!(failed.is_err());
    let failed = loaded.bind(r#"{"bind": "panic", "bind_milliseconds": 1}"#).err().unwrap();
    assert_eq!(failed.code, FailureCode::PANICKED);
    assert_eq!(failed.message, "panicked: bind panics, as configured");
    assert_eq!(loaded.bind(r#"{"bind": "fail"}"#).err().unwrap().code, FailureCode::OTHER);
    loaded.bind(r#"{"unbind": "panic"}"#).unwrap().unbind();
    loaded.shutdown();
    Loaded::new(probe::module(), r#"{"shutdown": "panic"}"#).unwrap().shutdown();
}

#[test]
fn the_schemas_say_what_config_there_is() {
    let description = probe::module().describe()();
    assert_eq!(description.name, "probe");
    assert_eq!(description.version, "0.1.0");
    assert!(description.config_schema.contains("What `configured` answers first."));
    assert!(description.binding_schema.contains(r#""additionalProperties":false"#));
}

#[test]
fn functions_are_numbered_in_the_order_of_the_world() {
    let description = probe::module().describe()();
    let mut interfaces: Vec<_> =
        description.functions.iter().map(|function| function.interface.as_str()).collect();
    interfaces.dedup();
    assert_eq!(
        interfaces,
        [
            "probe:types/echo@1.0.0",
            "probe:types/resources@1.0.0",
            "probe:types/more-resources@1.0.0",
            "probe:types/faults@1.0.0",
            "probe:types/concurrent@1.0.0",
            "probe:types/caller@1.0.0",
            "probe:types/streams@1.0.0",
            "probe:types/values@1.0.0",
            "probe:io/streams@1.0.0",
            "bench:kv/calls@1.0.0",
            "bench:streams/moving@1.0.0",
            "bench:files/files@1.0.0",
        ]
    );
    let resources: Vec<_> =
        description.resources.iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(resources, ["thing", "bomb", "clock", "cell"]);
}

#[test]
fn a_call_knows_its_workload_deadline_and_trace() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    type Call = (String, Option<u64>, Vec<u8>, u32);
    let call: Call = binding.call("faults@1.0.0#context", &()).unwrap();
    assert_eq!(call, ("workload".to_owned(), None, vec![0; 16], 0));
    let context =
        CallContext { deadline: 1, trace_id: [7; 16], depth: 3, ..CallContext::default() };
    let number = loaded.function("faults@1.0.0#context");
    let Begun::Ready(bytes) = binding.start(number, Vec::new(), &context) else {
        panic!("the answer is at hand")
    };
    let call: Call = wire::from_slice(&bytes, Form::Local).unwrap();
    assert_eq!(call, ("workload".to_owned(), Some(0), vec![7; 16], 3));
}

#[test]
fn an_extension_counts_and_calls_its_workload() {
    let loaded = crate::probe();
    let binding = loaded.bind("{}").unwrap();
    binding.call::<()>("faults@1.0.0#count", &("cheeses", 3_u64)).unwrap();
    let metrics = loaded.host.metrics.lock().unwrap().clone();
    assert_eq!(metrics, [(MetricKind::Counter, "cheeses".to_owned(), 3.0)]);
    let answer: String =
        binding.call("faults@1.0.0#invoke", &("a:b/c@1.0.0", "greet", "hello")).unwrap();
    assert_eq!(answer, "hello");
    let invoked = loaded.host.invoked.lock().unwrap().pop().unwrap();
    let arguments = wire::to_vec("hello", Form::Local);
    assert_eq!(invoked, (7, "a:b/c@1.0.0".to_owned(), "greet".to_owned(), arguments, 1));
}
