//! An extension that provides two versions of one package, called as a host calls it.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::expect_used
)]

mod support;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use backplane_sdk::{Bytes, Context, Extension, Failure, Host, NoConfig, Own, Workload};
use bindings::wasi::{keyvalue0_2_0_draft as draft, keyvalue0_2_0_draft2 as draft2};

pub mod bindings {
    backplane_sdk::generate!({
        path: "tests/wit",
        world: "provider",
        bytes: "owned",
        resources: {
            "wasi:keyvalue/store/bucket": crate::Bucket,
            "wasi:keyvalue/atomics@0.2.0-draft2/cas": crate::Cas,
        },
    });
}

pub struct Bucket {
    values: Arc<Mutex<HashMap<String, Bytes>>>,
}

pub struct Cas {
    bucket: Arc<Mutex<HashMap<String, Bytes>>>,
    key: String,
    seen: Option<Bytes>,
}

pub struct KeyValue;

pub struct Binding {
    values: Arc<Mutex<HashMap<String, Bytes>>>,
}

impl Extension for KeyValue {
    type Config = NoConfig;
    type BindingConfig = NoConfig;
    type Binding = Binding;

    async fn create(_: NoConfig, _: Host) -> Result<Self, Failure> {
        Ok(Self)
    }

    async fn bind(&self, _: Workload, _: NoConfig) -> Result<Binding, Failure> {
        Ok(Binding { values: Arc::default() })
    }
}

impl draft::store::Handler for Binding {
    async fn open(
        &self,
        _: &Context,
        identifier: &str,
    ) -> Result<Result<Own<draft::store::Bucket>, draft::store::Error>, Failure> {
        if identifier != "default" {
            return Ok(Err(draft::store::Error::NoSuchStore));
        }
        Ok(Ok(Own::new(Bucket { values: Arc::clone(&self.values) })))
    }

    async fn bucket_get(
        &self,
        _: &Context,
        this: &Bucket,
        key: &str,
    ) -> Result<Result<Option<Bytes>, draft::store::Error>, Failure> {
        Ok(Ok(this.values.lock().unwrap().get(key).cloned()))
    }

    async fn bucket_set(
        &self,
        _: &Context,
        this: &Bucket,
        key: &str,
        value: Bytes,
    ) -> Result<Result<(), draft::store::Error>, Failure> {
        this.values.lock().unwrap().insert(key.to_owned(), value);
        Ok(Ok(()))
    }

    async fn bucket_delete(
        &self,
        _: &Context,
        this: &Bucket,
        key: &str,
    ) -> Result<Result<(), draft::store::Error>, Failure> {
        this.values.lock().unwrap().remove(key);
        Ok(Ok(()))
    }

    async fn bucket_exists(
        &self,
        _: &Context,
        this: &Bucket,
        key: &str,
    ) -> Result<Result<bool, draft::store::Error>, Failure> {
        Ok(Ok(this.values.lock().unwrap().contains_key(key)))
    }

    async fn bucket_list_keys(
        &self,
        _: &Context,
        this: &Bucket,
        _cursor: Option<u64>,
    ) -> Result<Result<draft::store::KeyResponse, draft::store::Error>, Failure> {
        let keys = this.values.lock().unwrap().keys().cloned().collect();
        Ok(Ok(draft::store::KeyResponse { keys, cursor: None }))
    }
}

impl draft::atomics::Handler for Binding {
    async fn increment(
        &self,
        _: &Context,
        _bucket: &Bucket,
        _key: &str,
        delta: u64,
    ) -> Result<Result<u64, draft::store::Error>, Failure> {
        Ok(Ok(delta))
    }
}

impl draft2::store::Handler for Binding {
    async fn open(
        &self,
        _: &Context,
        identifier: &str,
    ) -> Result<Result<Own<draft2::store::Bucket>, draft2::store::Error>, Failure> {
        if identifier != "default" {
            return Ok(Err(draft2::store::Error::NoSuchStore));
        }
        Ok(Ok(Own::new(Bucket { values: Arc::clone(&self.values) })))
    }

    async fn bucket_get(
        &self,
        _: &Context,
        this: &Bucket,
        key: &str,
    ) -> Result<Result<Option<Bytes>, draft2::store::Error>, Failure> {
        Ok(Ok(this.values.lock().unwrap().get(key).cloned()))
    }

    async fn bucket_set(
        &self,
        _: &Context,
        this: &Bucket,
        key: &str,
        value: Bytes,
    ) -> Result<Result<(), draft2::store::Error>, Failure> {
        this.values.lock().unwrap().insert(key.to_owned(), value);
        Ok(Ok(()))
    }

    async fn bucket_delete(
        &self,
        _: &Context,
        this: &Bucket,
        key: &str,
    ) -> Result<Result<(), draft2::store::Error>, Failure> {
        this.values.lock().unwrap().remove(key);
        Ok(Ok(()))
    }

    async fn bucket_exists(
        &self,
        _: &Context,
        this: &Bucket,
        key: &str,
    ) -> Result<Result<bool, draft2::store::Error>, Failure> {
        Ok(Ok(this.values.lock().unwrap().contains_key(key)))
    }

    async fn bucket_list_keys(
        &self,
        _: &Context,
        this: &Bucket,
        cursor: Option<&str>,
    ) -> Result<Result<draft2::store::KeyResponse, draft2::store::Error>, Failure> {
        let keys = this.values.lock().unwrap().keys().cloned().collect();
        Ok(Ok(draft2::store::KeyResponse { keys, cursor: cursor.map(str::to_owned) }))
    }
}

impl draft2::atomics::Handler for Binding {
    async fn cas_new(
        &self,
        _: &Context,
        bucket: &Bucket,
        key: &str,
    ) -> Result<Result<Own<draft2::atomics::Cas>, draft2::store::Error>, Failure> {
        let seen = bucket.values.lock().unwrap().get(key).cloned();
        Ok(Ok(Own::new(Cas { bucket: Arc::clone(&bucket.values), key: key.to_owned(), seen })))
    }

    async fn cas_current(
        &self,
        _: &Context,
        this: &Cas,
    ) -> Result<Result<Option<Bytes>, draft2::store::Error>, Failure> {
        Ok(Ok(this.seen.clone()))
    }

    async fn increment(
        &self,
        _: &Context,
        _bucket: &Bucket,
        _key: &str,
        delta: i64,
    ) -> Result<Result<i64, draft2::store::Error>, Failure> {
        Ok(Ok(delta))
    }

    async fn swap(
        &self,
        cx: &Context,
        cas: Arc<Cas>,
        value: Bytes,
    ) -> Result<Result<(), draft2::atomics::CasError>, Failure> {
        let mut values = cas.bucket.lock().unwrap();
        if values.get(&cas.key) == cas.seen.as_ref() {
            values.insert(cas.key.clone(), value);
            return Ok(Ok(()));
        }
        let now = values.get(&cas.key).cloned();
        drop(values);
        let fresh = Cas { bucket: Arc::clone(&cas.bucket), key: cas.key.clone(), seen: now };
        Ok(Err(draft2::atomics::CasError::CasFailed(cx.own(fresh))))
    }
}

impl draft2::batch::Handler for Binding {
    async fn get_many(
        &self,
        _: &Context,
        bucket: &Bucket,
        keys: Vec<&str>,
    ) -> Result<Result<Vec<Option<(String, Bytes)>>, draft2::store::Error>, Failure> {
        let values = bucket.values.lock().unwrap();
        Ok(Ok(keys
            .into_iter()
            .map(|key| Some((key.to_owned(), values.get(key)?.clone())))
            .collect()))
    }

    async fn set_many(
        &self,
        _: &Context,
        bucket: &Bucket,
        key_values: Vec<(&str, Bytes)>,
    ) -> Result<Result<(), draft2::store::Error>, Failure> {
        bucket
            .values
            .lock()
            .unwrap()
            .extend(key_values.into_iter().map(|(key, value)| (key.to_owned(), value)));
        Ok(Ok(()))
    }

    async fn delete_many(
        &self,
        _: &Context,
        bucket: &Bucket,
        keys: Vec<&str>,
    ) -> Result<Result<(), draft2::store::Error>, Failure> {
        let mut values = bucket.values.lock().unwrap();
        keys.into_iter().for_each(|key| drop(values.remove(key)));
        Ok(Ok(()))
    }
}

backplane_sdk::export! {
    name: "test-keyvalue",
    extension: KeyValue,
    world: bindings::World,
    aliases: [("wasi:keyvalue/store@0.2.0", "wasi:keyvalue/store@0.2.0-draft2")],
}

use support::{Handle, Loaded};

type Answer<T> = Result<T, draft::store::Error>;
type Answer2<T> = Result<T, draft2::store::Error>;

fn open(binding: &support::Bound<'_>, version: &str) -> Handle {
    let function = format!("store@{version}#open");
    binding.call::<Answer<Handle>>(&function, &("default",)).unwrap().unwrap()
}

#[test]
fn what_is_set_in_one_version_is_read_in_the_other() {
    let loaded = Loaded::new(module(), "{}").unwrap();
    let binding = loaded.bind("{}").unwrap();
    let (old, new) = (open(&binding, "0.2.0-draft"), open(&binding, "0.2.0-draft2"));
    for size in [0, 10, 100_000] {
        let value = vec![7_u8; size];
        let set = "store@0.2.0-draft#[method]bucket.set";
        binding.call::<Answer<()>>(set, &(old, "key", &value)).unwrap().unwrap();
        let get = "store@0.2.0-draft2#[method]bucket.get";
        let read = binding.call::<Answer2<Option<Vec<u8>>>>(get, &(new, "key")).unwrap();
        assert_eq!(read, Ok(Some(value)));
    }
    binding.unbind();
    loaded.shutdown();
}

#[test]
fn a_handle_of_another_version_is_refused() {
    let loaded = Loaded::new(module(), "{}").unwrap();
    let binding = loaded.bind("{}").unwrap();
    let old = open(&binding, "0.2.0-draft");
    let get = "store@0.2.0-draft2#[method]bucket.get";
    let failed = binding.call::<Answer2<Option<Vec<u8>>>>(get, &(old, "key")).unwrap_err();
    assert_eq!(failed.code, backplane_sdk::abi::FailureCode::BAD_ARGUMENTS);
    assert_eq!(
        failed.message,
        "arguments of `wasi:keyvalue/store@0.2.0-draft2` function `[method]bucket.get`: malformed \
         value at byte 9: a resource handle names no live resource of its type"
    );
}

#[test]
fn an_owned_handle_inside_an_error_is_a_live_resource() {
    let loaded = Loaded::new(module(), "{}").unwrap();
    let binding = loaded.bind("{}").unwrap();
    let bucket = open(&binding, "0.2.0-draft2");
    let new = "atomics@0.2.0-draft2#[static]cas.new";
    let cas = binding.call::<Answer2<Handle>>(new, &(bucket, "key")).unwrap().unwrap();
    let set = "store@0.2.0-draft2#[method]bucket.set";
    binding.call::<Answer2<()>>(set, &(bucket, "key", "meanwhile")).unwrap().unwrap();
    let swap = "atomics@0.2.0-draft2#swap";
    // `cas-failed` is the second case of `cas-error`.
    let answer = wire_swap(&binding, swap, cas);
    let (case, fresh) = answer.unwrap_err();
    assert_eq!(case, 1);
    // The first `cas` was given away.
    let arguments = backplane_sdk::wire::to_vec(&(cas, "value"), Default::default());
    assert!(binding.call_bytes(swap, arguments, Default::default()).is_err());
    assert_eq!(wire_swap(&binding, swap, fresh), Ok(()));
}

fn wire_swap(binding: &support::Bound<'_>, swap: &str, cas: Handle) -> Result<(), (u8, Handle)> {
    binding.call(swap, &(cas, "value")).unwrap()
}

#[test]
fn lists_of_tuples_borrow_their_strings_and_share_their_bytes() {
    let loaded = Loaded::new(module(), "{}").unwrap();
    let binding = loaded.bind("{}").unwrap();
    let bucket = open(&binding, "0.2.0-draft2");
    let values = vec![("a", vec![1_u8; 2000]), ("b", vec![2_u8; 3])];
    let set_many = "batch@0.2.0-draft2#set-many";
    binding.call::<Answer2<()>>(set_many, &(bucket, values)).unwrap().unwrap();
    let get_many = "batch@0.2.0-draft2#get-many";
    type Found = Answer2<Vec<Option<(String, Vec<u8>)>>>;
    let found = binding.call::<Found>(get_many, &(bucket, vec!["b", "c", "a"])).unwrap().unwrap();
    assert_eq!(
        found,
        [Some(("b".to_owned(), vec![2; 3])), None, Some(("a".to_owned(), vec![1; 2000]))]
    );
}

#[test]
fn the_world_decodes_to_what_the_extension_provides() {
    let description = module().describe()();
    assert_eq!(description.name, "test-keyvalue");
    assert!(description.config_schema.is_empty());
    let (resolve, package) = match wit_parser::decoding::decode(bindings::World::WIT).unwrap() {
        wit_parser::decoding::DecodedWasm::WitPackage(resolve, package) => (resolve, package),
        wit_parser::decoding::DecodedWasm::Component(..) => panic!("not a WIT package"),
    };
    assert_eq!(resolve.packages[package].worlds.len(), 1);
    let world = resolve.select_world(&[package], None).unwrap();
    let exports: Vec<_> =
        resolve.worlds[world].exports.keys().map(|key| resolve.name_world_key(key)).collect();
    let mut described: Vec<_> =
        description.functions.iter().map(|entry| entry.interface.to_string()).collect();
    described.dedup();
    assert_eq!(exports, described);
}
