//! What the macros refuse, and with which words.

use quote::quote;

use crate::{dispatch, options, wit};

fn refused(wit: &str, rest: proc_macro2::TokenStream) -> String {
    let result = options::parse_generate(quote!({ inline: #wit, #rest }))
        .and_then(|options| dispatch::generate(&options, &wit::load(&options)?));
    result.expect_err("the world should be refused").to_string()
}

#[test]
fn an_unknown_option_is_refused_with_the_options_there_are() {
    let error = refused("", quote!(byte: "owned"));
    assert_eq!(error, "no option `byte`; there are path, inline, world, bytes, resources, encoded");
    assert_eq!(refused("", quote!(bytes: "shared")), "expected \"owned\" or \"borrowed\"");
}

#[test]
fn a_stream_that_is_not_carried_is_refused_by_the_name_of_its_function() {
    let wit = "
        package a:b@1.0.0;
        interface c { record r { s: stream<future<string>> } tail: func(r: r); }
        world w { export c; }
    ";
    assert_eq!(
        refused(wit, quote!()),
        "function `tail` of `a:b/c@1.0.0` cannot be provided: streams and \
         futures of what has resources, streams or futures in it come with a later version"
    );
}

#[test]
fn a_resource_without_a_type_is_refused_with_the_line_to_add() {
    let wit = "
        package a:b@1.0.0;
        interface c { resource fat-cat { constructor(); } }
        world w { export c; }
    ";
    assert_eq!(
        refused(wit, quote!()),
        "each resource of the world needs the Rust type behind it; add `resources: { \
         \"a:b/c/fat-cat\": crate::FatCat }`"
    );
    let error = refused(wit, quote!(resources: { "a:b/c/cat": Cat }));
    assert!(error.starts_with("the world exports no such resource"), "{error}");
}

#[test]
fn a_resource_that_is_not_exported_is_refused() {
    let wit = "
        package a:b@1.0.0;
        interface c { resource r; }
        interface d { use c.{r}; take: func(r: r); }
        world w { export d; }
    ";
    assert_eq!(
        refused(wit, quote!()),
        "function `take` of `a:b/d@1.0.0` has a resource that the world does not export; export the \
         interface that defines it too"
    );
}

#[test]
fn a_world_without_interfaces_is_refused() {
    let error = refused("package a:b; world w { export f: func(); }", quote!());
    assert!(error.starts_with("world `w` exports `f` outside of a named interface"), "{error}");
    let error = refused("package a:b; world w {}", quote!());
    assert!(error.starts_with("world `w` exports no interface"), "{error}");
}

#[test]
fn a_world_that_no_component_can_have_is_refused() {
    let flags: Vec<_> = (0..33).map(|number| format!("b{number}")).collect();
    let wit = format!(
        "package a:b; interface c {{ flags f {{ {} }} }} world w {{ export c; }}",
        flags.join(", ")
    );
    assert!(refused(&wit, quote!()).contains("cannot have more than 32 flags"));
}

#[test]
fn an_error_in_wit_names_its_place() {
    let error = refused("package a:b;\ninterface c { f: func() -> nothing; }", quote!());
    assert!(error.contains("nothing") && error.contains("inline.wit:2"), "{error}");
}

#[test]
fn an_unknown_encoded_function_is_refused() {
    let wit = "package a:b; interface c { f: func(); } world w { export c; }";
    let error = refused(wit, quote!(encoded: ["a:b/c/g"]));
    assert!(error.starts_with("the world exports no function `a:b/c/g`"), "{error}");
}

#[test]
fn an_extension_needs_a_name_that_config_can_hold() {
    let error = |tokens| options::parse_export(tokens).err().map(|error| error.to_string());
    assert_eq!(
        error(quote!(name: "a", world: W)).as_deref(),
        Some("`export!` needs `extension: ...`")
    );
    let wrong = error(quote!(name: "A b", extension: E, world: W));
    assert!(wrong.is_some_and(|text| text.starts_with("an extension's name is lower-case")));
}
