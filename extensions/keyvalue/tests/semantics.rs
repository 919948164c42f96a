//! What a bucket does, the same on every backend.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeSet, sync::Arc};

use backplane_keyvalue::{
    Config, Error, LinkConfig, Store,
    store::{Binding, Bucket, SwapError},
};
use bytes::Bytes;
use serde_json::json;

const U64: std::ops::RangeInclusive<i128> = 0..=u64::MAX as i128;
const S64: std::ops::RangeInclusive<i128> = i64::MIN as i128..=i64::MAX as i128;

/// A store and, for a file, the folder it is in.
struct Fixture {
    store: Arc<Store>,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new(backend: &str, mut config: serde_json::Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        config["backend"] = backend.into();
        config["data"] = folder.path().to_str().unwrap().into();
        let config: Config = serde_json::from_value(config).unwrap();
        Self { store: Arc::new(Store::open(&config).unwrap()), _folder: folder }
    }

    fn bind(&self, link: serde_json::Value) -> Binding {
        let link: LinkConfig = serde_json::from_value(link).unwrap();
        self.store.bind(&link).unwrap()
    }

    fn bucket(&self) -> Bucket {
        self.bind(json!({})).open("default").unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.store.close();
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Every test below runs on every backend.
macro_rules! on_every_backend {
    ($($name:ident;)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                super::$name("memory").await;
            })*
        }
        mod redb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                super::$name("redb").await;
            })*
        }
    };
}

on_every_backend! {
    a_key_has_the_value_that_was_set_last;
    any_key_and_any_bytes_will_do;
    a_listing_has_every_key_once_though_keys_come_and_go;
    a_page_of_long_keys_has_fewer_of_them;
    a_number_stands_for_the_page_after_a_key;
    get_many_answers_in_the_order_of_the_keys;
    set_many_and_delete_many_do_all_or_nothing;
    a_batch_over_the_limit_is_refused;
    a_counter_is_decimal_text_that_both_versions_count_on;
    a_counter_that_cannot_be_counted_on_stays_as_it_is;
    a_swap_happens_if_nobody_wrote_in_between;
    a_stale_swap_gives_a_handle_that_can_be_tried_again;
    a_swap_of_a_key_that_was_not_there;
    concurrent_increments_are_all_counted;
    concurrent_swaps_lose_no_update;
    readers_see_a_batch_as_a_whole;
    keys_and_values_have_limits;
    buckets_are_apart;
    a_workload_opens_what_it_was_granted;
    a_grant_for_reading_does_not_write;
}

async fn a_key_has_the_value_that_was_set_last(backend: &str) {
    let fixture = Fixture::new(backend, json!({}));
    let bucket = fixture.bucket();
    assert_eq!(bucket.get("a").await, Ok(None));
    assert_eq!(bucket.exists("a").await, Ok(false));
    bucket.set("a", bytes("1")).await.unwrap();
    bucket.set("a", bytes("2")).await.unwrap();
    assert_eq!(bucket.get("a").await, Ok(Some(bytes("2"))));
    assert_eq!(bucket.exists("a").await, Ok(true));
    bucket.delete("a").await.unwrap();
    bucket.delete("a").await.unwrap();
    assert_eq!(bucket.get("a").await, Ok(None));
    assert_eq!(bucket.exists("a").await, Ok(false));
}

async fn any_key_and_any_bytes_will_do(backend: &str) {
    let fixture = Fixture::new(backend, json!({}));
    let bucket = fixture.bucket();
    let large = Bytes::from((0..1 << 20).map(|byte| byte as u8).collect::<Vec<_>>());
    for key in ["", " ", "a/b", "é", "\0", "日本"] {
        for value in [Bytes::new(), Bytes::from_static(&[0, 255, 10]), large.clone()] {
            bucket.set(key, value.clone()).await.unwrap();
            assert_eq!(bucket.get(key).await, Ok(Some(value)), "{key:?}");
        }
    }
    let page = bucket.list_after(None).await.unwrap();
    assert_eq!(page.keys, ["", "\0", " ", "a/b", "é", "日本"]);
    assert!(!page.more);
}

async fn a_listing_has_every_key_once_though_keys_come_and_go(backend: &str) {
    let fixture = Fixture::new(backend, json!({}));
    let bucket = fixture.bucket();
    assert!(bucket.list_after(None).await.unwrap().keys.is_empty());
    let stay: Vec<_> = (0..2500).map(|number| format!("stay-{number:05}")).collect();
    let pairs = stay.iter().map(|key| (key.clone(), bytes("x"))).collect();
    bucket.set_many(pairs).await.unwrap();

    let mut seen = Vec::new();
    let mut page = bucket.list_after(None).await.unwrap();
    let mut pages = 1;
    loop {
        seen.extend(page.keys.iter().filter(|key| key.starts_with("stay-")).cloned());
        // Between two pages keys come before and after the cursor, and one that came goes again.
        bucket.set(&format!("a-{pages}"), bytes("x")).await.unwrap();
        bucket.set(&format!("stay-99{pages}"), bytes("x")).await.unwrap();
        bucket.delete(&format!("a-{}", pages - 1)).await.unwrap();
        let Some(last) = page.keys.last().filter(|_| page.more) else { break };
        page = bucket.list_after(Some(last)).await.unwrap();
        pages += 1;
    }
    seen.retain(|key| !key.starts_with("stay-99"));
    assert_eq!(seen, stay);
    assert_eq!(pages, 3);
}

async fn a_page_of_long_keys_has_fewer_of_them(backend: &str) {
    let fixture = Fixture::new(backend, json!({ "max-key": "64KiB" }));
    let bucket = fixture.bucket();
    let keys: Vec<_> = (10..60).map(|number| format!("{number}{}", "x".repeat(60 << 10))).collect();
    bucket.set_many(keys.iter().map(|key| (key.clone(), Bytes::new())).collect()).await.unwrap();
    let mut seen = Vec::new();
    let mut page = bucket.list_after(None).await.unwrap();
    loop {
        assert!(page.keys.len() < 20);
        seen.extend(page.keys.iter().cloned());
        let Some(last) = page.next() else { break };
        page = bucket.list_after(Some(last)).await.unwrap();
    }
    assert_eq!(seen, keys);
}

async fn a_number_stands_for_the_page_after_a_key(backend: &str) {
    let fixture = Fixture::new(backend, json!({}));
    let bucket = fixture.bucket();
    let keys: Vec<_> = (0..2100).map(|number| format!("{number:05}")).collect();
    bucket.set_many(keys.iter().map(|key| (key.clone(), bytes("x"))).collect()).await.unwrap();
    assert_eq!(bucket.list_from(None).await, bucket.list_from(Some(0)).await);

    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = bucket.list_from(cursor).await.unwrap();
        seen.extend(page.keys.iter().cloned());
        let Some(last) = page.keys.last().filter(|_| page.more) else { break };
        // A cursor holds even if its key goes.
        cursor = Some(bucket.cursor(last));
        bucket.delete(last).await.unwrap();
    }
    assert_eq!(seen, keys);

    // The numbers are functions of the keys: one that nobody remembers is found again.
    let other = Fixture::new(backend, json!({}));
    let other = other.bucket();
    let cursor = other.cursor("00001");
    let page = bucket.list_from(Some(cursor)).await.unwrap();
    assert_eq!(page.keys[0], "00002");
    assert_eq!(bucket.list_from(Some(12345)).await, Err(Error::UnknownCursor));
}

async fn get_many_answers_in_the_order_of_the_keys(backend: &str) {
    let fixture = Fixture::new(backend, json!({}));
    let bucket = fixture.bucket();
    for key in ["a", "b", "c"] {
        bucket.set(key, bytes(&key.repeat(2))).await.unwrap();
    }
    let found = |key: &str| Some((key.to_owned(), bytes(&key.repeat(2))));
    let ask = |keys: &[&str]| bucket.get_many(keys.iter().map(|key| (*key).to_owned()).collect());
    let answer = ask(&["c", "nowhere", "a", "c"]).await.unwrap();
    assert_eq!(answer, [found("c"), None, found("a"), found("c")]);
    assert_eq!(ask(&[]).await, Ok(vec![]));
    // Enough to be read on another thread, where that is done.
    let many: Vec<_> = std::iter::repeat_n(["b", "z"], 500).flatten().collect();
    let answer = ask(&many).await.unwrap();
    assert_eq!(answer.len(), 1000);
    assert!(answer.chunks(2).all(|pair| pair == [found("b"), None]));
}

async fn set_many_and_delete_many_do_all_or_nothing(backend: &str) {
    let fixture = Fixture::new(backend, json!({ "max-value": "4B" }));
    let bucket = fixture.bucket();
    let pairs = [("a", "1"), ("b", "2"), ("a", "3")];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), bytes(value))).to_vec();
    bucket.set_many(pairs).await.unwrap();
    assert_eq!(bucket.get("a").await, Ok(Some(bytes("3"))));
    assert_eq!(bucket.get("b").await, Ok(Some(bytes("2"))));
    let pairs = vec![("c".to_owned(), bytes("1")), ("d".to_owned(), bytes("12345"))];
    assert_eq!(bucket.set_many(pairs).await, Err(Error::ValueTooLong { length: 5, limit: 4 }));
    assert_eq!(bucket.exists("c").await, Ok(false));
    bucket.delete_many(vec!["a".to_owned(), "nowhere".to_owned()]).await.unwrap();
    assert_eq!(bucket.list_after(None).await.unwrap().keys, ["b"]);
    bucket.set_many(vec![]).await.unwrap();
    bucket.delete_many(vec![]).await.unwrap();
}

async fn a_batch_over_the_limit_is_refused(backend: &str) {
    let limits = json!({ "max-key": "10B", "max-value": "1000B", "max-batch": "2000B" });
    let fixture = Fixture::new(backend, limits);
    let bucket = fixture.bucket();
    let value = Bytes::from(vec![7; 1000]);
    let refused = Err(Error::BatchTooLong { limit: 2000 });
    let pairs = |count| (0..count).map(|n| (format!("{n}"), value.clone())).collect::<Vec<_>>();
    assert_eq!(bucket.set_many(pairs(2)).await, refused);
    bucket.set_many(pairs(1)).await.unwrap();
    // One key that is asked for again and again is an answer without end.
    for times in [2, 2000] {
        let answer = bucket.get_many(vec!["0".to_owned(); times]).await;
        assert_eq!(answer.map(|_| ()), refused, "{times}");
    }
}

async fn a_counter_is_decimal_text_that_both_versions_count_on(backend: &str) {
    let fixture = Fixture::new(backend, json!({}));
    let bucket = fixture.bucket();
    assert_eq!(bucket.increment("n", 40, U64).await, Ok(40));
    assert_eq!(bucket.increment("n", 2, S64).await, Ok(42));
    assert_eq!(bucket.get("n").await, Ok(Some(bytes("42"))));
    assert_eq!(bucket.increment("n", -50, S64).await, Ok(-8));
    assert_eq!(bucket.get("n").await, Ok(Some(bytes("-8"))));
    bucket.set("n", bytes("99")).await.unwrap();
    assert_eq!(bucket.increment("n", 1, U64).await, Ok(100));
    assert_eq!(bucket.increment("zero", 0, U64).await, Ok(0));
    assert_eq!(bucket.get("zero").await, Ok(Some(bytes("0"))));
}

async fn a_counter_that_cannot_be_counted_on_stays_as_it_is(backend: &str) {
    let fixture = Fixture::new(backend, json!({}));
    let bucket = fixture.bucket();
    bucket.set("n", bytes("one")).await.unwrap();
    assert_eq!(bucket.increment("n", 1, U64).await, Err(Error::NotACounter));
    assert_eq!(bucket.get("n").await, Ok(Some(bytes("one"))));
    let most = i64::MAX.to_string();
    bucket.set("n", bytes(&most)).await.unwrap();
    let sum = i128::from(i64::MAX) + 1;
    assert_eq!(bucket.increment("n", 1, S64).await, Err(Error::CounterOverflow(sum)));
    assert_eq!(bucket.get("n").await, Ok(Some(bytes(&most))));
    assert_eq!(bucket.increment("n", 1, U64).await, Ok(sum));
}

async fn a_swap_happens_if_nobody_wrote_in_between(backend: &str) {
    let fixture = Fixture::new(backend, json!({}));
    let bucket = fixture.bucket();
    bucket.set("a", bytes("1")).await.unwrap();
    let cas = bucket.compare("a").await.unwrap();
    bucket.set("b", bytes("another key")).await.unwrap();
    assert_eq!(cas.current(), Some(bytes("1")));
    assert!(cas.swap(bytes("2")).await.is_ok());
    assert_eq!(bucket.get("a").await, Ok(Some(bytes("2"))));
    // Changed, and changed back.
    let cas = bucket.compare("a").await.unwrap();
    bucket.set("a", bytes("3")).await.unwrap();
    bucket.set("a", bytes("2")).await.unwrap();
    assert!(matches!(cas.swap(bytes("4")).await, Err(SwapError::Stale(_))));
    // Removed, and set again.
    let cas = bucket.compare("a").await.unwrap();
    bucket.delete("a").await.unwrap();
    bucket.set("a", bytes("2")).await.unwrap();
    assert!(matches!(cas.swap(bytes("4")).await, Err(SwapError::Stale(_))));
    assert_eq!(bucket.get("a").await, Ok(Some(bytes("2"))));
}

async fn a_stale_swap_gives_a_handle_that_can_be_tried_again(backend: &str) {
    let fixture = Fixture::new(backend, json!({}));
    let bucket = fixture.bucket();
    bucket.set("a", bytes("1")).await.unwrap();
    let cas = bucket.compare("a").await.unwrap();
    bucket.set("a", bytes("2")).await.unwrap();
    // What the handle took does not change with the key.
    assert_eq!(cas.current(), Some(bytes("1")));
    let Err(SwapError::Stale(cas)) = cas.swap(bytes("3")).await else { panic!("not stale") };
    assert_eq!(cas.current(), Some(bytes("2")));
    assert!(cas.swap(bytes("3")).await.is_ok());
    assert_eq!(bucket.get("a").await, Ok(Some(bytes("3"))));
}

async fn a_swap_of_a_key_that_was_not_there(backend: &str) {
    let fixture = Fixture::new(backend, json!({}));
    let bucket = fixture.bucket();
    let first = bucket.compare("a").await.unwrap();
    let second = bucket.compare("a").await.unwrap();
    assert_eq!(first.current(), None);
    assert!(first.swap(bytes("1")).await.is_ok());
    let Err(SwapError::Stale(second)) = second.swap(bytes("2")).await else { panic!("not stale") };
    bucket.delete("a").await.unwrap();
    let Err(SwapError::Stale(third)) = second.swap(bytes("2")).await else { panic!("not stale") };
    assert_eq!(third.current(), None);
    assert!(third.swap(bytes("3")).await.is_ok());
    assert_eq!(bucket.get("a").await, Ok(Some(bytes("3"))));
}

async fn concurrent_increments_are_all_counted(backend: &str) {
    let fixture = Fixture::new(backend, json!({}));
    // Enough that tasks meet, on a disk as in memory.
    let rounds = if backend == "memory" { 20_000 } else { 50 };
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            // Each has a bucket of its own workload, and every other one another version's range.
            let bucket = fixture.bucket();
            let range = if task % 2 == 0 { U64 } else { S64 };
            tokio::spawn(async move {
                let mut answers = Vec::new();
                for _ in 0..rounds {
                    answers.push(bucket.increment("n", 1, range.clone()).await.unwrap());
                }
                answers
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.extend(task.await.unwrap());
    }
    answers.sort_unstable();
    assert!(answers.into_iter().eq(1..=16 * rounds), "an answer was given twice or not at all");
    let count = fixture.bucket().increment("n", 0, U64).await;
    assert_eq!(count, Ok(16 * rounds));
}

async fn concurrent_swaps_lose_no_update(backend: &str) {
    let fixture = Fixture::new(backend, json!({}));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let bucket = fixture.bucket();
            tokio::spawn(async move {
                for _ in 0..20 {
                    let mut cas = bucket.compare("list").await.unwrap();
                    loop {
                        let mut list = cas.current().map(Vec::from).unwrap_or_default();
                        list.push(b'x');
                        match cas.swap(list.into()).await {
                            Ok(()) => break,
                            Err(SwapError::Stale(fresh)) => cas = fresh,
                            Err(SwapError::Store(error)) => panic!("{error}"),
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let list = fixture.bucket().get("list").await.unwrap().unwrap();
    assert_eq!(list.len(), 160);
}

async fn readers_see_a_batch_as_a_whole(backend: &str) {
    let fixture = Fixture::new(backend, json!({}));
    let keys: Vec<_> = (0..10).map(|number| format!("key-{number}")).collect();
    let bucket = fixture.bucket();
    let writer = tokio::spawn({
        let (bucket, keys) = (bucket.clone(), keys.clone());
        async move {
            for round in 0..100 {
                let value = bytes(&round.to_string());
                let pairs = keys.iter().map(|key| (key.clone(), value.clone())).collect();
                bucket.set_many(pairs).await.unwrap();
            }
        }
    });
    let mut rounds = BTreeSet::new();
    while !writer.is_finished() || rounds.is_empty() {
        let answer = bucket.get_many(keys.clone()).await.unwrap();
        let values: BTreeSet<_> =
            answer.into_iter().map(|found| found.map(|(_, value)| value)).collect();
        assert_eq!(values.len(), 1, "{values:?}");
        rounds.extend(values);
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

async fn keys_and_values_have_limits(backend: &str) {
    let fixture = Fixture::new(backend, json!({ "max-key": "3B", "max-value": "2B" }));
    let bucket = fixture.bucket();
    let too_long = Error::KeyTooLong { length: 4, limit: 3 };
    bucket.set("abc", bytes("12")).await.unwrap();
    assert_eq!(
        bucket.set("abc", bytes("123")).await,
        Err(Error::ValueTooLong { length: 3, limit: 2 })
    );
    assert_eq!(bucket.get("abcd").await, Err(too_long.clone()));
    assert_eq!(bucket.set("abcd", bytes("1")).await, Err(too_long.clone()));
    assert_eq!(bucket.delete("abcd").await, Err(too_long.clone()));
    assert_eq!(bucket.exists("abcd").await, Err(too_long.clone()));
    assert_eq!(bucket.increment("abcd", 1, U64).await, Err(too_long.clone()));
    assert_eq!(bucket.compare("abcd").await.map(|_| ()), Err(too_long));
    let cas = bucket.compare("abc").await.unwrap();
    assert!(matches!(
        cas.swap(bytes("123")).await,
        Err(SwapError::Store(Error::ValueTooLong { length: 3, limit: 2 }))
    ));
}

async fn buckets_are_apart(backend: &str) {
    let fixture = Fixture::new(backend, json!({ "buckets": ["one", "two"] }));
    let binding = fixture.bind(json!({ "buckets": ["one", "two"] }));
    let one = binding.open("one").unwrap_or_else(|error| panic!("{error}"));
    let two = binding.open("two").unwrap_or_else(|error| panic!("{error}"));
    one.set("a", bytes("1")).await.unwrap();
    two.set("a", bytes("2")).await.unwrap();
    two.set("b", bytes("3")).await.unwrap();
    assert_eq!(one.get("a").await, Ok(Some(bytes("1"))));
    assert_eq!(one.list_after(None).await.unwrap().keys, ["a"]);
    assert_eq!(two.list_after(None).await.unwrap().keys, ["a", "b"]);
    let cursor = two.cursor("b");
    assert_eq!(one.list_from(Some(cursor)).await, Err(Error::UnknownCursor));
}

async fn a_workload_opens_what_it_was_granted(backend: &str) {
    let fixture = Fixture::new(backend, json!({ "buckets": ["default", "counters", "secret"] }));
    let open = |binding: &Binding, name: &str| binding.open(name).map(|_| ());
    let denied = |name: &str| Err(Error::AccessDenied(format!("the bucket `{name}`").into()));
    let nowhere = |name: &str| Err(Error::NoSuchStore(name.into()));

    let binding = fixture.bind(json!({}));
    assert_eq!(open(&binding, ""), Ok(()));
    assert_eq!(open(&binding, "default"), Ok(()));
    assert_eq!(open(&binding, "secret"), denied("secret"));
    assert_eq!(open(&binding, "nowhere"), nowhere("nowhere"));

    let binding = fixture.bind(json!({ "buckets": ["counters"] }));
    assert_eq!(open(&binding, "counters"), Ok(()));
    assert_eq!(open(&binding, ""), denied("default"));

    let binding = fixture.bind(json!({ "buckets": { "": "counters", "mine": "secret" } }));
    assert_eq!(open(&binding, "default"), Ok(()));
    assert_eq!(open(&binding, "mine"), Ok(()));
    assert_eq!(open(&binding, "secret"), denied("secret"));
    let default = binding.open("").unwrap_or_else(|error| panic!("{error}"));
    default.set("a", bytes("1")).await.unwrap();
    let counters = fixture.bind(json!({ "buckets": ["counters"] })).open("counters");
    let counters = counters.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(counters.get("a").await, Ok(Some(bytes("1"))));

    let binding = fixture.bind(json!({ "buckets": [] }));
    assert_eq!(open(&binding, ""), denied("default"));
}

async fn a_grant_for_reading_does_not_write(backend: &str) {
    let fixture = Fixture::new(backend, json!({}));
    fixture.bucket().set("a", bytes("1")).await.unwrap();
    let link = json!({ "buckets": { "default": { "bucket": "default", "access": "read" } } });
    let bucket = fixture.bind(link).open("").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(bucket.get("a").await, Ok(Some(bytes("1"))));
    assert_eq!(bucket.list_after(None).await.unwrap().keys, ["a"]);
    let denied = Error::AccessDenied("this bucket for writing".into());
    assert_eq!(bucket.set("a", bytes("2")).await, Err(denied.clone()));
    assert_eq!(bucket.delete("a").await, Err(denied.clone()));
    assert_eq!(bucket.increment("n", 1, U64).await, Err(denied.clone()));
    assert_eq!(bucket.set_many(vec![]).await, Err(denied.clone()));
    assert_eq!(bucket.delete_many(vec![]).await, Err(denied.clone()));
    let cas = bucket.compare("a").await.unwrap();
    assert!(matches!(
        cas.swap(bytes("2")).await,
        Err(SwapError::Store(error)) if error == denied
    ));
    assert_eq!(bucket.get("a").await, Ok(Some(bytes("1"))));
}

#[tokio::test]
async fn memory_holds_no_more_than_it_is_allowed() {
    let limits = json!({ "max-memory": "10000B", "max_value": "20000B" });
    let fixture = Fixture::new("memory", limits);
    let bucket = fixture.bucket();
    let full = Err(Error::Full { limit: 10_000 });
    let value = Bytes::from(vec![1; 9000]);
    assert_eq!(bucket.set("a", Bytes::from(vec![1; 10_000])).await, full);
    // Room that was given up can be used again, by the same key and by others.
    for _ in 0..10 {
        bucket.set("a", value.clone()).await.unwrap();
        assert_eq!(bucket.set("b", value.clone()).await, full);
        bucket.delete("a").await.unwrap();
        let pairs = vec![("b".to_owned(), value.clone()), ("b".to_owned(), value.clone())];
        bucket.set_many(pairs).await.unwrap();
        let pairs = ["b", "c"].map(|key| (key.to_owned(), value.clone())).to_vec();
        assert_eq!(bucket.set_many(pairs).await, full);
        assert_eq!(bucket.exists("c").await, Ok(false));
        bucket.delete_many(vec!["b".to_owned(), "b".to_owned()]).await.unwrap();
    }
}

#[tokio::test]
async fn memory_answers_at_once() {
    let fixture = Fixture::new("memory", json!({}));
    let bucket = fixture.bucket();
    let mut set = std::pin::pin!(bucket.set("a", bytes("1")));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(set.as_mut().poll(&mut context).is_ready());
    let mut get = std::pin::pin!(bucket.get("a"));
    assert!(get.as_mut().poll(&mut context).is_ready());
}

#[tokio::test]
async fn a_file_is_read_at_once_and_written_later() {
    let fixture = Fixture::new("redb", json!({}));
    let bucket = fixture.bucket();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut set = std::pin::pin!(bucket.set("a", bytes("1")));
    assert!(set.as_mut().poll(&mut context).is_pending());
    set.await.unwrap();
    let mut get = std::pin::pin!(bucket.get("a"));
    assert!(get.as_mut().poll(&mut context).is_ready());
}
