//! A component that imports one interface twice, each import under a name of its own, which a link chooses by.

use backplane_tests::{Lab, Ran};

use crate::guest;

const DRAFT2: &str = "0.2.0-draft2";

/// A link for the import of that name.
fn link(named: &str, provider: &str, buckets: &str) -> String {
    format!(
        "[[workloads.guest.links]]\nnamed = \"{named}\"\nprovider = \"{provider}\"\n\
         config = {{ buckets = {buckets} }}\n"
    )
}

/// Runs a command as the workload `guest`, on such a host and with such links.
async fn run_guest(guest: Vec<u8>, host: &str, links: &str) -> Ran {
    let lab = Lab::new().with_keyvalue();
    lab.write("guest.wasm", guest);
    let workload = format!("[workloads.guest]\ncomponent = \"guest.wasm\"\n{links}");
    let lab = lab.with_config(&format!("{host}{workload}"));
    lab.run(["run", "guest.wasm"]).await
}

/// Runs the command that tells `east` and `west` apart.
async fn run(host: &str, versions: [&str; 2], links: [String; 2]) -> Ran {
    run_guest(guest::east_and_west(versions), host, &links.concat()).await
}

/// Two extensions of one file.
const TWO_PROVIDERS: &str = "enable = [\"here\", \"there\"]\n\
                             [extensions.here]\nfile = \"plugins/keyvalue.so\"\n\
                             [extensions.there]\nfile = \"plugins/keyvalue.so\"\n";

/// One extension with two buckets.
const TWO_BUCKETS: &str = "enable = [\"keyvalue\"]\n\
                           [extensions.keyvalue.config]\nbuckets = [\"mine\", \"yours\"]\n";

/// It ended with its own error, and not with a trap or one of the host's.
fn saw_through_the_other(ran: &Ran) {
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(!ran.stderr.contains("error: "), "{}", ran.stderr);
}

#[tokio::test]
async fn two_named_imports_are_served_by_two_providers() {
    let default = "[\"default\"]";
    let links = [link("east", "here", default), link("west", "there", default)];
    run(TWO_PROVIDERS, [DRAFT2; 2], links).await.succeeds();
    // Both are linked to the one, and so the same bucket: what tells them apart would see it.
    let links = [link("east", "here", default), link("west", "here", default)];
    saw_through_the_other(&run(TWO_PROVIDERS, [DRAFT2; 2], links).await);
}

#[tokio::test]
async fn two_named_imports_are_served_by_one_provider_each_with_its_own_config() {
    let (mine, yours) = ("{ default = \"mine\" }", "{ default = \"yours\" }");
    let links = [link("east", "keyvalue", mine), link("west", "keyvalue", yours)];
    run(TWO_BUCKETS, [DRAFT2; 2], links).await.succeeds();
    let links = [link("east", "keyvalue", mine), link("west", "keyvalue", mine)];
    saw_through_the_other(&run(TWO_BUCKETS, [DRAFT2; 2], links).await);
}

#[tokio::test]
async fn two_named_imports_may_be_of_two_versions() {
    let (mine, yours) = ("{ default = \"mine\" }", "{ default = \"yours\" }");
    let versions = ["0.2.0-draft", DRAFT2];
    let links = [link("east", "keyvalue", mine), link("west", "keyvalue", yours)];
    run(TWO_BUCKETS, versions, links).await.succeeds();
    let links = [link("east", "keyvalue", mine), link("west", "keyvalue", mine)];
    saw_through_the_other(&run(TWO_BUCKETS, versions, links).await);
}

#[tokio::test]
async fn a_named_import_is_not_guessed_between_two_providers() {
    let links = [link("east", "here", "[\"default\"]"), String::new()];
    run(TWO_PROVIDERS, [DRAFT2; 2], links).await.is_refused(&[
        "`here`, `there` all provide `west: wasi:keyvalue/store@0.2.0-draft2`",
        "add `[[links]]` with `named = \"west\"` and `provider = \"here\"`",
    ]);
}

#[tokio::test]
async fn each_named_import_that_nobody_provides_is_named() {
    let ran = run("", [DRAFT2; 2], [const { String::new() }; 2]).await;
    ran.is_refused(&[
        "nothing provides `east: wasi:keyvalue/store@0.2.0-draft2`",
        "nothing provides `west: wasi:keyvalue/store@0.2.0-draft2`",
        "enable = [\"keyvalue\"]",
    ]);
}

/// Runs the command that counts in `west`, with such a link; all other imports are linked to `here`.
async fn run_counting(link: &str) -> Ran {
    let host =
        format!("{TWO_PROVIDERS}[[links]]\ntarget = \"wasi:keyvalue\"\nprovider = \"here\"\n");
    run_guest(guest::counting_in_west(), &host, link).await
}

#[tokio::test]
async fn an_interface_goes_with_the_import_whose_resource_it_uses_and_not_with_its_namesake() {
    run_counting(&link("east", "there", "[\"default\"]")).await.succeeds();
    run_counting(&link("west", "there", "[\"default\"]")).await.is_refused(&[
        "`wasi:keyvalue/atomics@0.2.0-draft2` uses the resource `bucket` of \
         `west: wasi:keyvalue/store@0.2.0-draft2`",
        "the one is linked to `here` and the other to `there`; ",
        "Link both to the same provider with the same config",
    ]);
}

#[tokio::test]
async fn imports_that_the_configs_of_their_links_keep_apart_are_refused_without_the_configs() {
    for provider in ["here", "there"] {
        let link = format!(
            "[[workloads.guest.links]]\nnamed = \"west\"\nprovider = \"{provider}\"\n\
             config = {{ password = \"hunter2\" }}\n"
        );
        let ran = run_counting(&link).await;
        ran.is_refused(&["uses the resource `bucket` of `west: ", "the one is linked to `here`"]);
        assert_eq!(ran.stderr.contains("to `here` with another config; "), provider == "here");
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn an_import_without_a_link_goes_with_one_whose_link_has_no_config() {
    let link =
        "[[workloads.guest.links]]\ntarget = \"wasi:keyvalue/atomics\"\nprovider = \"keyvalue\"\n";
    run_guest(guest::counting_in_west(), "enable = [\"keyvalue\"]\n", link).await.succeeds();
}
