//! Both versions of the interface, called through the ABI as a host calls them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../../extension-sdk/tests/support/mod.rs"]
mod support;

use backplane_sdk::{
    abi::{CallContext, FailureCode},
    wire::{self, Decode, Encode, Error, Form, Reader},
};
use support::{Begun, Bound, Handle, Loaded, finish};

/// The interface's `error`.
#[derive(Debug, PartialEq)]
enum StoreError {
    NoSuchStore,
    AccessDenied,
    Other(String),
}

impl<'a> Decode<'a> for StoreError {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        Ok(match reader.discriminant(3)? {
            0 => Self::NoSuchStore,
            1 => Self::AccessDenied,
            _ => Self::Other(String::decode(reader)?),
        })
    }
}

/// `cas-error` of draft2.
#[derive(Debug, PartialEq)]
enum CasError {
    Store(StoreError),
    Failed(Handle),
}

impl<'a> Decode<'a> for CasError {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        Ok(match reader.discriminant(2)? {
            0 => Self::Store(StoreError::decode(reader)?),
            _ => Self::Failed(Handle::decode(reader)?),
        })
    }
}

type Answer<T> = Result<T, StoreError>;

/// A workload's binding, and one version of the interface.
#[derive(Clone, Copy)]
struct Version<'a> {
    binding: &'a Bound<'a>,
    version: &'static str,
}

impl Version<'_> {
    #[track_caller]
    fn call<T: for<'a> Decode<'a>>(&self, function: &str, arguments: &impl Encode) -> T {
        let (interface, function) = function.split_once('#').unwrap();
        let name = format!("{interface}@{}#{function}", self.version);
        self.binding.call(&name, arguments).unwrap_or_else(|failed| panic!("{}", failed.message))
    }

    #[track_caller]
    fn open(&self, identifier: &str) -> Handle {
        self.call::<Answer<Handle>>("store#open", &(identifier,)).unwrap()
    }

    fn set(&self, bucket: Handle, key: &str, value: &str) {
        self.call::<Answer<()>>("store#[method]bucket.set", &(bucket, key, value)).unwrap();
    }

    fn get(&self, bucket: Handle, key: &str) -> Option<String> {
        let value: Answer<Option<Vec<u8>>> = self.call("store#[method]bucket.get", &(bucket, key));
        value.unwrap().map(|value| String::from_utf8(value).unwrap())
    }
}

/// Runs a test on both versions and both backends.
fn on_each(test: impl Fn(Version<'_>)) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display();
    for config in [r#"{ "backend": "memory" }"#.to_owned(), format!(r#"{{ "data": "{data}" }}"#)] {
        for version in ["0.2.0-draft", "0.2.0-draft2"] {
            let loaded = Loaded::new(backplane_keyvalue::module(), &config).unwrap();
            let binding = loaded.bind("{}").unwrap();
            let version = Version { binding: &binding, version };
            // Each version begins anew on the same file.
            let bucket = version.open("");
            let page: Answer<Vec<String>> = all_keys(version, bucket);
            let cleared: Answer<()> = version.call("batch#delete-many", &(bucket, page.unwrap()));
            cleared.unwrap();
            test(version);
            binding.unbind();
            loaded.shutdown();
        }
    }
}

/// Every key, page by page, in whichever form the version has its cursor.
fn all_keys(version: Version<'_>, bucket: Handle) -> Answer<Vec<String>> {
    fn pages<C>(version: Version<'_>, bucket: Handle) -> Answer<Vec<String>>
    where
        C: Encode + for<'a> Decode<'a>,
    {
        let mut keys = Vec::new();
        let mut cursor: Option<C> = None;
        loop {
            let page: Answer<(Vec<String>, Option<C>)> =
                version.call("store#[method]bucket.list-keys", &(bucket, cursor));
            let (more, next) = page?;
            keys.extend(more);
            match next {
                Some(next) => cursor = Some(next),
                None => return Ok(keys),
            }
        }
    }
    match version.version {
        "0.2.0-draft" => pages::<u64>(version, bucket),
        _ => pages::<String>(version, bucket),
    }
}

#[test]
fn store_reads_and_writes_single_keys() {
    on_each(|version| {
        let bucket = version.open("default");
        assert_eq!(version.get(bucket, "a"), None);
        version.set(bucket, "a", "1");
        assert_eq!(version.get(bucket, "a").as_deref(), Some("1"));
        let exists = |key| {
            version.call::<Answer<bool>>("store#[method]bucket.exists", &(bucket, key)).unwrap()
        };
        assert!(exists("a") && !exists("b"));
        for _ in 0..2 {
            let deleted: Answer<()> = version.call("store#[method]bucket.delete", &(bucket, "a"));
            deleted.unwrap();
        }
        assert!(!exists("a"));
    });
}

#[test]
fn list_keys_goes_through_every_page() {
    on_each(|version| {
        let bucket = version.open("");
        let keys: Vec<_> = (0..3000).map(|number| format!("{number:04}")).collect();
        let pairs: Vec<_> = keys.iter().map(|key| (key.clone(), "x")).collect();
        let set: Answer<()> = version.call("batch#set-many", &(bucket, pairs));
        set.unwrap();
        assert_eq!(all_keys(version, bucket), Ok(keys));
    });
}

#[test]
fn batch_answers_in_the_order_of_the_keys() {
    on_each(|version| {
        let bucket = version.open("");
        let set: Answer<()> =
            version.call("batch#set-many", &(bucket, vec![("a", "1"), ("b", "2")]));
        set.unwrap();
        type Found = Vec<Option<(String, Vec<u8>)>>;
        let found: Answer<Found> =
            version.call("batch#get-many", &(bucket, vec!["b", "nowhere", "a"]));
        let pair = |key: &str, value: &str| Some((key.to_owned(), value.as_bytes().to_vec()));
        assert_eq!(found.unwrap(), [pair("b", "2"), None, pair("a", "1")]);
        let deleted: Answer<()> =
            version.call("batch#delete-many", &(bucket, vec!["a", "nowhere"]));
        deleted.unwrap();
        assert_eq!(all_keys(version, bucket), Ok(vec!["b".to_owned()]));
    });
}

#[test]
fn increment_counts_in_the_type_of_its_version() {
    on_each(|version| {
        let bucket = version.open("");
        let function = "atomics#increment";
        if version.version == "0.2.0-draft" {
            let add = |delta: u64| version.call::<Answer<u64>>(function, &(bucket, "n", delta));
            assert_eq!(add(u64::MAX - 1), Ok(u64::MAX - 1));
            assert_eq!(add(1), Ok(u64::MAX));
            assert!(matches!(add(1), Err(StoreError::Other(_))));
        } else {
            let add = |delta: i64| version.call::<Answer<i64>>(function, &(bucket, "n", delta));
            assert_eq!(add(-5), Ok(-5));
            assert_eq!(add(7), Ok(2));
            assert_eq!(add(i64::MIN), Ok(i64::MIN + 2));
            assert!(matches!(add(-3), Err(StoreError::Other(_))));
        }
        version.set(bucket, "n", "text");
        let answer: Answer<u64> = version.call(function, &(bucket, "n", 1_u64));
        let expected = "the value is not a counter: expected a whole number as decimal text";
        assert_eq!(answer, Err(StoreError::Other(expected.to_owned())));
    });
}

#[test]
fn cas_swaps_what_did_not_change() {
    on_each(|version| {
        if version.version == "0.2.0-draft" {
            return;
        }
        let bucket = version.open("");
        version.set(bucket, "a", "1");
        let new: Answer<Handle> = version.call("atomics#[static]cas.new", &(bucket, "a"));
        let cas = new.unwrap();
        version.set(bucket, "a", "2");
        let current = |cas: Handle| {
            let value: Answer<Option<Vec<u8>>> =
                version.call("atomics#[method]cas.current", &(cas,));
            value.unwrap().unwrap()
        };
        assert_eq!(current(cas), b"1");
        let swap = |cas: Handle| version.call::<Result<(), CasError>>("atomics#swap", &(cas, "3"));
        let Err(CasError::Failed(fresh)) = swap(cas) else { panic!("swapped") };
        assert_eq!(current(fresh), b"2");
        // The first `cas` was given away.
        let spent: Result<Result<(), CasError>, _> =
            version.binding.call("atomics@0.2.0-draft2#swap", &(cas, "3"));
        assert_eq!(spent.unwrap_err().code, FailureCode::BAD_ARGUMENTS);
        assert_eq!(swap(fresh), Ok(()));
        assert_eq!(version.get(bucket, "a").as_deref(), Some("3"));
    });
}

#[test]
fn one_bucket_has_both_versions() {
    let loaded = Loaded::new(backplane_keyvalue::module(), r#"{ "backend": "memory" }"#).unwrap();
    let bindings = [loaded.bind("{}").unwrap(), loaded.bind("{}").unwrap()];
    let draft = Version { binding: &bindings[0], version: "0.2.0-draft" };
    let draft2 = Version { binding: &bindings[1], version: "0.2.0-draft2" };
    let (old, new) = (draft.open(""), draft2.open("default"));
    let sum: Answer<u64> = draft.call("atomics#increment", &(old, "n", 40_u64));
    assert_eq!(sum, Ok(40));
    let sum: Answer<i64> = draft2.call("atomics#increment", &(new, "n", 2_i64));
    assert_eq!(sum, Ok(42));
    assert_eq!(draft.get(old, "n").as_deref(), Some("42"));
    for binding in bindings {
        binding.unbind();
    }
    loaded.shutdown();
}

#[test]
fn a_handle_of_another_version_is_refused() {
    let loaded = Loaded::new(backplane_keyvalue::module(), r#"{ "backend": "memory" }"#).unwrap();
    let binding = loaded.bind("{}").unwrap();
    let old = Version { binding: &binding, version: "0.2.0-draft" }.open("");
    let get = "store@0.2.0-draft2#[method]bucket.get";
    let failed = binding.call::<Answer<Option<Vec<u8>>>>(get, &(old, "key")).unwrap_err();
    assert_eq!(failed.code, FailureCode::BAD_ARGUMENTS);
    assert!(failed.message.contains("no live resource of its type"), "{}", failed.message);
}

#[test]
fn a_bucket_that_was_not_granted_is_denied() {
    let config = r#"{ "backend": "memory", "buckets": ["default", "mine", "secret"] }"#;
    let loaded = Loaded::new(backplane_keyvalue::module(), config).unwrap();
    let link =
        r#"{ "buckets": { "": "mine", "prices": { "bucket": "default", "access": "read" } } }"#;
    let binding = loaded.bind(link).unwrap();
    for version in ["0.2.0-draft", "0.2.0-draft2"] {
        let version = Version { binding: &binding, version };
        let open = |name| version.call::<Answer<Handle>>("store#open", &(name,)).map(|_| ());
        assert_eq!(open(""), Ok(()));
        assert_eq!(open("default"), Ok(()));
        assert_eq!(open("secret"), Err(StoreError::AccessDenied));
        assert_eq!(open("nowhere"), Err(StoreError::NoSuchStore));
        let prices = version.open("prices");
        let set: Answer<()> = version.call("store#[method]bucket.set", &(prices, "a", "1"));
        assert_eq!(set, Err(StoreError::AccessDenied));
    }
    binding.unbind();
    loaded.shutdown();
}

#[test]
fn bad_config_keeps_the_extension_from_starting() {
    let refused = |config: &str| {
        Loaded::new(backplane_keyvalue::module(), config).err().unwrap().message.to_string()
    };
    let message = refused(r#"{ "backend": "memory", "bucket": ["a"] }"#);
    assert!(message.contains("`bucket`") && message.contains("`buckets`"), "{message}");
    let message = refused(r#"{ "cache": "much" }"#);
    assert!(message.contains("`cache`") && message.contains("64MiB"), "{message}");
    let message = refused(r#"{ "data": "/proc/nowhere" }"#);
    assert!(message.contains("cannot open /proc/nowhere/keyvalue.redb"), "{message}");

    let loaded = Loaded::new(backplane_keyvalue::module(), r#"{ "backend": "memory" }"#).unwrap();
    let refused = |link: &str| loaded.bind(link).err().unwrap().message.to_string();
    let message = refused(r#"{ "buckets": ["other"] }"#);
    assert!(
        message.contains("there is no bucket `other`; the extension has `default`"),
        "{message}"
    );
    let message = refused(r#"{ "buckets": 3 }"#);
    assert!(message.contains("expected a list of buckets, or a table"), "{message}");
    loaded.shutdown();
}

#[test]
fn memory_answers_without_a_future_and_a_file_reads_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display();
    let configs = [r#"{ "backend": "memory" }"#.to_owned(), format!(r#"{{ "data": "{data}" }}"#)];
    for (config, write_waits) in configs.iter().zip([false, true]) {
        let loaded = Loaded::new(backplane_keyvalue::module(), config).unwrap();
        let binding = loaded.bind("{}").unwrap();
        let bucket = Version { binding: &binding, version: "0.2.0-draft2" }.open("");
        let start = |function: &str, arguments: Vec<u8>| {
            let function = loaded.function(&format!("store@0.2.0-draft2#{function}"));
            binding.start(function, arguments, &CallContext::default())
        };
        let set = wire::to_vec(&(bucket, "a", "1"), Form::Local);
        match start("[method]bucket.set", set) {
            Begun::Ready(_) => assert!(!write_waits),
            Begun::Pending(future) => {
                assert!(write_waits);
                finish(future).unwrap();
            }
            Begun::Failed(failed) => panic!("{}", failed.message),
        }
        let get = wire::to_vec(&(bucket, "a"), Form::Local);
        assert!(matches!(start("[method]bucket.get", get), Begun::Ready(_)));
        binding.unbind();
        loaded.shutdown();
    }
}

#[test]
fn a_workload_that_ends_leaves_nothing_behind() {
    let loaded = Loaded::new(backplane_keyvalue::module(), r#"{ "backend": "memory" }"#).unwrap();
    let binding = loaded.bind("{}").unwrap();
    let version = Version { binding: &binding, version: "0.2.0-draft2" };
    let bucket = version.open("");
    let new: Answer<Handle> = version.call("atomics#[static]cas.new", &(bucket, "a"));
    binding.drop_resource(loaded.resource("atomics@0.2.0-draft2#cas"), new.unwrap().0);
    // The bucket is left open. Shutting down needs the last binding to be gone.
    binding.unbind();
    loaded.shutdown();
}
