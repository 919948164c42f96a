//! What is measured, and by which implementations.

use backplane::engine::EngineKind;

use super::BENCH;
use crate::{measure::Clock, row::Key};

/// Calls that a guest makes, or what it moves through a stream.
pub(super) struct Case {
    /// The guest's name for it.
    pub(super) name: &'static str,
    /// What the guest is told: the size of a value, the elements of a list or of a chunk.
    pub(super) argument: u32,
    /// The size of the value that a call carries, or of a unit of a stream.
    pub(super) bytes: u32,
    pub(super) clock: Clock,
    /// The most that it may be, in what is compiled in; none where there is no such limit.
    pub(super) limit: Option<f64>,
    /// How many units of a stream move at a time.
    pub(super) units: Option<u32>,
}

const fn case(name: &'static str, argument: u32, bytes: u32) -> Case {
    Case { name, argument, bytes, clock: Clock::Thread, limit: Some(LIMIT), units: None }
}

const fn ungated(case: Case, clock: Clock) -> Case {
    Case { clock, limit: None, ..case }
}

const fn stream(name: &'static str, argument: u32, bytes: u32, units: u32) -> Case {
    let limit = Some(STREAMS_LIMIT);
    Case { name, argument, bytes, clock: Clock::Real, limit, units: Some(units) }
}

/// The most that an extension's call may cost, in calls that are compiled in.
const LIMIT: f64 = 1.25;
/// The most that a unit of a stream may: nine tenths of the throughput.
const STREAMS_LIMIT: f64 = 1.0 / 0.9;

/// The cases that must be there, of `bench-guest`.
pub(super) const CASES: [Case; 13] = [
    case("get", 16, 16),
    case("get", 1 << 10, 1 << 10),
    case("get", 64 << 10, 64 << 10),
    case("get", 1 << 20, 1 << 20),
    case("set", 16, 16),
    case("set", 1 << 10, 1 << 10),
    case("set", 64 << 10, 64 << 10),
    case("set", 1 << 20, 1 << 20),
    case("list-u32", 1000, 4000),
    // Eight bytes of text and eight of number.
    case("list-pairs", 1000, 16_000),
    // As the record lies in memory, and the nine bytes of its string.
    case("record", 0, 73),
    ungated(case("resource", 0, 4), Clock::Thread),
    ungated(case("pending", 0, 4), Clock::Real),
];

/// Those of `bench-keyvalue`.
pub(super) const KEYVALUE_CASES: [Case; 8] = [
    ungated(case("kv-get", 16, 16), Clock::Thread),
    ungated(case("kv-get", 1 << 10, 1 << 10), Clock::Thread),
    ungated(case("kv-get", 64 << 10, 64 << 10), Clock::Thread),
    ungated(case("kv-get", 1 << 20, 1 << 20), Clock::Thread),
    ungated(case("kv-set", 16, 16), Clock::Thread),
    ungated(case("kv-set", 1 << 10, 1 << 10), Clock::Thread),
    ungated(case("kv-set", 64 << 10, 64 << 10), Clock::Thread),
    ungated(case("kv-set", 1 << 20, 1 << 20), Clock::Thread),
];

/// Bytes in a unit of a stream of them.
const MEBIBYTE: u32 = 1 << 20;
/// Bytes in a unit of a stream of records: 1,000, as they lie in memory.
const RECORDS: u32 = 24_000;

/// Those of `bench-streams`: 1 GiB of bytes, 1,000,000 records.
pub(super) const STREAM_CASES: [Case; 6] = [
    stream("stream-out", 64 << 10, MEBIBYTE, 1024),
    stream("stream-in", 64 << 10, MEBIBYTE, 1024),
    stream("stream-out", 4 << 10, MEBIBYTE, 1024),
    stream("stream-in", 4 << 10, MEBIBYTE, 1024),
    stream("records-out", 1000, RECORDS, 1000),
    stream("records-in", 1000, RECORDS, 1000),
];

/// Those of `bench-files`: 1 GiB.
pub(super) const FILE_CASES: [Case; 1] = [stream("input-stream", 64 << 10, MEBIBYTE, 1024)];

pub(super) const ENGINES: [(EngineKind, &str); 2] =
    [(EngineKind::Sync, "sync"), (EngineKind::Concurrent, "concurrent")];

/// The subject comes first, the baselines follow; a row is the subject over one of them.
pub(super) const CALLS: &[&str] = &["native", "typed", "val"];
pub(super) const KEYVALUE: &[&str] = &["native", "wasmtime-wasi-keyvalue"];
pub(super) const STREAMS: &[&str] = &["native", "typed"];

impl Case {
    pub(super) fn full_name(&self, engine: &str) -> String {
        match self.units {
            Some(_) => format!("{engine} {} by {}", self.name, self.argument),
            None => format!("{engine} {}", self.name),
        }
    }

    /// Whether it is asked for: each word begins one of its name or its size.
    pub(super) fn is_asked_for(&self, engine: &str, only: &str) -> bool {
        let name = format!("{} {}B", self.full_name(engine), self.bytes);
        only.split(' ').all(|asked| name.split(' ').any(|word| word.starts_with(asked)))
    }

    pub(super) fn keys(&self, engine: &str, names: &[&'static str]) -> Vec<Key> {
        let Some((&subject, baselines)) = names.split_first() else { return Vec::new() };
        let key = |&baseline| Key {
            bench: BENCH,
            case: self.full_name(engine),
            bytes: self.bytes,
            subject,
            baseline,
        };
        baselines.iter().map(key).collect()
    }
}
