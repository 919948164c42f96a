//! Bad config is refused with what is wrong and what to do.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use backplane_keyvalue::{Config, LinkConfig, Store};
use serde_json::json;

#[track_caller]
fn refused(config: serde_json::Value, expected: &str) {
    let message = match serde_json::from_value::<Config>(config) {
        Ok(config) => match Store::open(&config) {
            Ok(_) => panic!("not refused"),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    assert!(message.contains(expected), "{message}");
}

#[test]
fn a_setting_that_cannot_be_is_named() {
    refused(json!({ "backend": "memory", "buckets": [] }), "`buckets`: no bucket");
    refused(json!({ "backend": "memory", "buckets": ["a", "a"] }), "`a` stands twice");
    refused(
        json!({ "backend": "memory", "buckets": ["a/b"] }),
        "`a/b` is not the name of a bucket",
    );
    refused(
        json!({ "backend": "memory", "path": "x" }),
        "`path`: has no meaning for `backend = \"memory\"`",
    );
    refused(json!({ "backend": "redb", "max-memory": "1B" }), "`max-memory`: has no meaning");
    refused(
        json!({ "backend": "memory", "max-key": "0B" }),
        "`max-key`: is 0B; expected 1B to 64KiB",
    );
    refused(json!({ "backend": "memory", "max-batch": "1B" }), "`max-batch`: is 1B, less than");
    refused(json!({ "cache": 64 }), "invalid type: integer `64`, expected a string");
    refused(json!({ "cache": "64" }), "expected a size such as \"64MiB\"");
    refused(
        json!({ "backend": "sqlite" }),
        "unknown variant `sqlite`, expected `redb` or `memory`",
    );
    refused(json!({ "bucket": "a" }), "unknown field `bucket`");
    refused(json!({ "backend": "redb" }), "`path`: there is no data folder");
}

#[test]
fn a_link_to_a_bucket_that_is_not_there_is_refused() {
    let config = serde_json::from_value(json!({ "backend": "memory", "buckets": ["one", "two"] }));
    let store = Arc::new(Store::open(&config.unwrap()).unwrap());
    let refused = |link: serde_json::Value| {
        let link: LinkConfig = serde_json::from_value(link).unwrap();
        match store.bind(&link) {
            Ok(_) => panic!("not refused"),
            Err(error) => error.to_string(),
        }
    };
    assert!(
        refused(json!({ "buckets": ["three"] })).contains(
            "there is no bucket `three`; the extension has `one`, `two`. Name one of those"
        )
    );
    assert!(refused(json!({})).contains("Add `buckets = [\"NAME\"]` to the link's config"));
    let twice = json!({ "buckets": { "": "one", "default": "two" } });
    assert!(refused(twice).contains("`default` is granted twice"));
}
