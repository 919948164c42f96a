//! What a redb file keeps, and what is said when it cannot.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use backplane_keyvalue::{Config, Error, LinkConfig, Store, store::Bucket};
use bytes::Bytes;
use serde_json::json;

const U64: std::ops::RangeInclusive<i128> = 0..=u64::MAX as i128;

/// In the child: the folder to write to.
const FOLDER: &str = "KEYVALUE_TEST_FOLDER";

fn try_open(data: &Path) -> Result<Arc<Store>, String> {
    let config: Config = serde_json::from_value(json!({ "data": data })).unwrap();
    Store::open(&config).map(Arc::new).map_err(|error| error.to_string())
}

fn open(data: &Path) -> (Arc<Store>, Bucket) {
    let store = try_open(data).unwrap();
    let bucket = store.bind(&LinkConfig::default()).unwrap().open("");
    let bucket = bucket.unwrap_or_else(|error| panic!("{error}"));
    (store, bucket)
}

fn file(data: &Path) -> std::path::PathBuf {
    data.join("keyvalue.redb")
}

#[tokio::test]
async fn buckets_are_there_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("made/when/missing");
    let (store, bucket) = open(&data);
    bucket.set("a", Bytes::from_static(b"1")).await.unwrap();
    assert_eq!(bucket.increment("n", 7, U64).await, Ok(7));
    let cas = bucket.compare("a").await.unwrap();
    store.close();
    assert_eq!(bucket.get("a").await, Err(Error::Unavailable("it is closed".into())));
    assert!(matches!(bucket.delete("a").await, Err(Error::Unavailable(_))));
    assert!(cas.swap(Bytes::new()).await.is_err());

    let (store, bucket) = open(&data);
    assert_eq!(bucket.get("a").await, Ok(Some(Bytes::from_static(b"1"))));
    assert_eq!(bucket.increment("n", 1, U64).await, Ok(8));
    store.close();
}

#[tokio::test]
async fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (store, _bucket) = open(folder.path());
    let mode = std::fs::metadata(file(folder.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    store.close();
}

#[tokio::test]
async fn closing_writes_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (store, bucket) = open(folder.path());
    let writes: Vec<_> = (0..200)
        .map(|number| {
            let bucket = bucket.clone();
            let mut write =
                Box::pin(async move { bucket.set(&number.to_string(), Bytes::new()).await });
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(write.as_mut().poll(&mut context).is_pending());
            write
        })
        .collect();
    store.close();
    for write in writes {
        write.await.unwrap();
    }
    let (store, bucket) = open(folder.path());
    assert_eq!(bucket.list_after(None).await.unwrap().keys.len(), 200);
    store.close();
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_is_not_begun() {
    let folder = tempfile::tempdir().unwrap();
    let (store, bucket) = open(folder.path());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    // Large ones, so that the queue is never empty while the cancelled ones are in it.
    let large = Bytes::from(vec![1; 8 << 20]);
    let mut writes = Vec::new();
    for number in 0..20 {
        for (key, value, keep) in [("kept", &large, true), ("cancelled", &Bytes::new(), false)] {
            let (bucket, value) = (bucket.clone(), value.clone());
            let mut write =
                Box::pin(async move { bucket.set(&format!("{key}-{number}"), value).await });
            assert!(write.as_mut().poll(&mut context).is_pending());
            if keep {
                writes.push(write);
            }
        }
    }
    for write in writes {
        write.await.unwrap();
    }
    let keys = bucket.list_after(None).await.unwrap().keys;
    let kept = keys.iter().filter(|key| key.starts_with("kept")).count();
    assert_eq!(kept, 20);
    assert!(keys.len() < 40, "every cancelled write was done");
    store.close();
}

/// Runs in a process of its own, which the test below kills.
#[test]
#[ignore = "run by another test, in a process of its own"]
fn child_that_counts_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (_store, bucket) = open(Path::new(&folder));
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let bucket = bucket.clone();
                tokio::spawn(async move {
                    for round in 1_u64.. {
                        let value = Bytes::from(round.to_string());
                        let pair =
                            ["left", "right"].map(|side| (format!("{side}-{task}"), value.clone()));
                        bucket.set_many(pair.to_vec()).await.unwrap();
                        let count = bucket.increment("count", 1, U64).await.unwrap();
                        // Only what was answered is told.
                        let line = format!("answered {task} {round} {count}\n");
                        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[tokio::test]
async fn what_was_answered_survives_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let mut least = 0;
    for lines in [1, 40, 300] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_counts_until_it_is_killed", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut rounds = [0_u64; 8];
        let mut seen = 0;
        let mut lines_left = lines;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some((_, numbers)) = line.split_once("answered ") else { continue };
            let numbers: Vec<u64> =
                numbers.split(' ').map(|number| number.parse().unwrap()).collect();
            let task = usize::try_from(numbers[0]).unwrap();
            rounds[task] = rounds[task].max(numbers[1]);
            seen = numbers[2].max(seen);
            lines_left -= 1;
            if lines_left == 0 {
                // SIGKILL; what it still wrote is read on.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();

        let (store, bucket) = open(folder.path());
        let count = bucket.increment("count", 0, U64).await.unwrap();
        assert!(count >= i128::from(seen), "{count} in the file, {seen} answered");
        assert!(count > least, "the child did nothing");
        least = count;
        for (task, round) in rounds.iter().enumerate() {
            let pair = [format!("left-{task}"), format!("right-{task}")];
            let values: BTreeSet<u64> = bucket
                .get_many(pair.to_vec())
                .await
                .unwrap()
                .into_iter()
                .map(|found| {
                    found.map_or(0, |(_, value)| {
                        std::str::from_utf8(&value).unwrap().parse().unwrap()
                    })
                })
                .collect();
            assert_eq!(values.len(), 1, "half of a batch was kept: {values:?}");
            assert!(values.first() >= Some(round), "{values:?} in the file, {round} answered");
        }
        store.close();
    }
}

#[tokio::test]
async fn a_file_that_another_process_has_open_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _bucket) = open(folder.path());
    let message = try_open(folder.path()).err().unwrap();
    assert!(
        message.contains("keyvalue.redb: it is locked: another process has it open"),
        "{message}"
    );
    store.close();
    try_open(folder.path()).unwrap().close();
}

#[tokio::test]
async fn a_file_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(file(folder.path()), "a letter to my aunt\n".repeat(1000)).unwrap();
    let message = try_open(folder.path()).err().unwrap();
    assert!(message.contains("the file is damaged: it is not a key-value file"), "{message}");
    // It was not touched.
    let content = std::fs::read_to_string(file(folder.path())).unwrap();
    assert!(content.starts_with("a letter to my aunt\n"));
}

#[tokio::test]
async fn a_redb_file_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = redb::Database::create(file(folder.path())).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<&str, u64>::new("backplane");
    transaction.open_table(table).unwrap().insert("format", 99).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let message = try_open(folder.path()).err().unwrap();
    assert!(message.contains("it is of format 99, and this version reads format 1"), "{message}");
}

#[tokio::test]
async fn damage_is_reported_and_does_not_end_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let (store, bucket) = open(folder.path());
    for round in 0..20 {
        let pairs = (0..100).map(|n| (format!("{}", round * 100 + n), Bytes::from(vec![1; 500])));
        bucket.set_many(pairs.collect()).await.unwrap();
    }
    store.close();
    let whole = std::fs::read(file(folder.path())).unwrap();
    // Half a file, and a file with its pages overwritten.
    let mut scrambled = whole.clone();
    for byte in scrambled.iter_mut().skip(4096) {
        *byte = !*byte;
    }
    for damaged in [&whole[..whole.len() / 2], &whole[..10], &scrambled[..]] {
        std::fs::write(file(folder.path()), damaged).unwrap();
        let config = json!({ "data": folder.path(), "check-on-start": true });
        let config: Config = serde_json::from_value(config).unwrap();
        let message = Store::open(&config).err().unwrap().to_string();
        assert!(message.contains("the file is damaged"), "{message}");
        // Without the check, it is refused or its keys are errors.
        if let Ok(store) = try_open(folder.path()) {
            let bucket = store.bind(&LinkConfig::default()).unwrap().open("");
            let bucket = bucket.unwrap_or_else(|error| panic!("{error}"));
            let answer = bucket.get_many((0..2000).map(|n| n.to_string()).collect()).await;
            assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
            store.close();
        }
    }
}

/// A small file system of its own; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_an_error_and_heals_when_there_is_room() {
    let Some(disk) = SmallDisk::mount(16) else {
        eprintln!("SKIPPED: no tmpfs can be mounted here; run as root to test a full disk");
        return;
    };
    let data = disk.0.path();
    let (store, bucket) = open(data);
    bucket.set("small", Bytes::from_static(b"1")).await.unwrap();
    let ballast = data.join("ballast");
    std::fs::write(&ballast, vec![0; 6 << 20]).unwrap();

    let value = Bytes::from(vec![1; 1 << 20]);
    let mut answered = Vec::new();
    let error = loop {
        let key = format!("large-{}", answered.len());
        match bucket.set(&key, value.clone()).await {
            Ok(()) => answered.push(key),
            Err(error) => break error,
        }
        assert!(answered.len() < 16, "the disk does not fill up");
    };
    assert_eq!(error, Error::Unavailable("the disk is full".into()));

    // What was answered is there, and can be read while the disk is full.
    for key in &answered {
        assert_eq!(bucket.get(key).await, Ok(Some(value.clone())), "{key}");
    }
    assert_eq!(bucket.get("small").await, Ok(Some(Bytes::from_static(b"1"))));
    let refused = format!("large-{}", answered.len());
    assert_eq!(bucket.exists(&refused).await, Ok(false));
    // Still full, which is answered without another try.
    assert_eq!(bucket.set(&refused, value.clone()).await, Err(error));

    std::fs::remove_file(ballast).unwrap();
    let patience = Instant::now() + Duration::from_secs(20);
    while let Err(error) = bucket.set(&refused, value.clone()).await {
        assert!(Instant::now() < patience, "still {error}");
        tokio::task::yield_now().await;
    }
    store.close();
    let (store, bucket) = open(data);
    for key in answered.iter().chain([&refused]) {
        assert_eq!(bucket.get(key).await, Ok(Some(value.clone())), "{key}");
    }
    store.close();
}
