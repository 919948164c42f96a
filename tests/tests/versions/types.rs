//! An interface of the right name with other types: refused at the start, for the types decide.

use backplane_tests::{Lab, Ran};

use crate::guest::{self, FUNCTIONS};

/// Runs a command that imports `store` with such functions.
async fn run(functions: &[(&str, &str)]) -> Ran {
    let lab = Lab::new().with_keyvalue().with_config("enable = [\"keyvalue\"]\n");
    lab.write("guest.wasm", guest::importing(functions));
    lab.run(["run", "guest.wasm"]).await
}

/// The same with another type for one of the functions.
async fn run_with(function: &str, ty: &str) -> Ran {
    let changed = FUNCTIONS.map(|(name, own)| (name, if name == function { ty } else { own }));
    assert_ne!(changed, FUNCTIONS, "{function} is as it was");
    run(&changed).await
}

/// What follows every difference.
const REMEDY: &str = "build the component against the provider's WIT, or use a version of the provider \
                      that has the component's";

/// What begins the report.
const WHOSE: &str = "failed to link workload `guest`";

#[tokio::test]
async fn a_component_with_the_types_of_its_provider_runs() {
    run(&FUNCTIONS).await.succeeds();
    // What it does not use, the provider may have.
    run(&FUNCTIONS[..1]).await.succeeds();
}

#[tokio::test]
async fn a_parameter_of_another_type_is_refused_with_both_types() {
    let refused = run_with(
        "open",
        r#"(param "identifier" u32) (result (result (own $bucket) (error $error)))"#,
    );
    refused.await.is_refused(&[
        WHOSE,
        "`wasi:keyvalue/store@0.2.0-draft2#open` differs in parameter `identifier`: ",
        "the component uses `u32`, provider `keyvalue` has `string`; ",
        REMEDY,
    ]);
}

#[tokio::test]
async fn a_result_of_another_type_is_refused_with_both_types() {
    let refused = run_with(
        "[method]bucket.get",
        r#"(param "self" (borrow $bucket)) (param "key" string) (result (result (option string) (error $error)))"#,
    );
    refused.await.is_refused(&[
        WHOSE,
        "`wasi:keyvalue/store@0.2.0-draft2#[method]bucket.get` differs in the result: ",
        "the component uses `result<option<string>, ",
        ", provider `keyvalue` has `result<option<list<u8>>, ",
        REMEDY,
    ]);
}

#[tokio::test]
async fn a_parameter_more_is_refused_with_both_numbers() {
    let refused = run_with(
        "open",
        r#"(param "identifier" string) (param "create" bool) (result (result (own $bucket) (error $error)))"#,
    );
    refused.await.is_refused(&[
        WHOSE,
        "`wasi:keyvalue/store@0.2.0-draft2#open` differs in the number of parameters: ",
        "the component uses `2`, provider `keyvalue` has `1`; ",
        REMEDY,
    ]);
}

#[tokio::test]
async fn a_function_that_the_provider_does_not_have_is_named() {
    let clear = ("[method]bucket.clear", r#"(param "self" (borrow $bucket))"#);
    let functions: Vec<_> = FUNCTIONS.into_iter().chain([clear]).collect();
    run(&functions).await.is_refused(&[
        WHOSE,
        "`wasi:keyvalue/store@0.2.0-draft2#[method]bucket.clear` is used by the component, ",
        "but provider `keyvalue` has no such function; use a version of the provider that has it",
    ]);
}
