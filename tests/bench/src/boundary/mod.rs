//! `boundary`: what a call of an import costs.
//!
//! One guest, built once, runs in one process against three implementations of the same interface:
//!
//! | name | what |
//! |---|---|
//! | `typed` | functions compiled in with the runtime's typed async API, as `bindgen!` makes them |
//! | `native` | the extension `probe`, a release build loaded through the ABI, linked as the host links |
//! | `val` | functions made with `func_new_async` over `Val` |
//!
//! a second guest against the extension `keyvalue` on memory and the crate `wasmtime-wasi-keyvalue`, and two that move
//! streams, of WASI 0.3 and of 0.2, from and to `probe` and functions compiled in. Each runs in both engines of the host, in a store with the limits that the
//! host sets by default, with log and metrics on.

mod dynamic;
mod guest;
mod moving;
mod native;
mod typed;

use std::path::{Path, PathBuf};

use backplane::{
    config,
    engine::{EngineKind, Engines, Settings, TICK},
    observe,
};
use clap::Args;
use tokio::runtime::{Builder, Runtime};
use wasmtime::{
    Engine, Result,
    component::{Component, Linker},
    error::Context as _,
};

use crate::{
    measure::{Clock, MOVES, ROUND, ROUNDS, medians, medians_of},
    row::{Key, Report},
};
use guest::Guest;
use native::Natives;

const BENCH: &str = "boundary";
/// Instances that each engine has room for: one for each implementation, and some.
const INSTANCES: u32 = 8;
/// The most that an extension's call may cost, in calls that are compiled in.
const LIMIT: f64 = 1.25;
/// The most that a unit of a stream may: nine tenths of the throughput.
const STREAMS_LIMIT: f64 = 1.0 / 0.9;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder of the guests: bench-guest.wasm, bench-keyvalue.wasm
    #[arg(long, env = "BACKPLANE_COMPONENTS", value_name = "FOLDER")]
    components: PathBuf,
    /// The folder of the extensions: probe.so, keyvalue.so, built with --release
    #[arg(long, env = "BACKPLANE_EXTENSIONS", value_name = "FOLDER")]
    extensions: PathBuf,
    /// Runs one implementation alone, for a profiler; there are no rows then
    #[arg(long, value_name = "IMPLEMENTATION", value_parser = CALLS.to_vec())]
    alone: Option<String>,
    /// How many calls of each case it makes
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000, requires = "alone")]
    calls: u32,
}

/// Calls that the guest makes.
struct Case {
    /// The guest's name for it.
    name: &'static str,
    /// What the guest is told: the size of a value, or the elements of a list.
    argument: u32,
    /// The size of the value that a call carries.
    bytes: u32,
    clock: Clock,
    /// Whether the limit holds for it.
    is_gated: bool,
}

const fn case(name: &'static str, argument: u32, bytes: u32) -> Case {
    Case { name, argument, bytes, clock: Clock::Thread, is_gated: true }
}

const fn ungated(case: Case, clock: Clock) -> Case {
    Case { clock, is_gated: false, ..case }
}

/// The cases that must be there, of `bench-guest`.
const CASES: [Case; 13] = [
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
const KEYVALUE_CASES: [Case; 8] = [
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
const STREAM_CASES: [Moved; 6] = [
    Moved { case: ungated(case("stream-out", 64 << 10, MEBIBYTE), Clock::Real), units: 1024 },
    Moved { case: ungated(case("stream-in", 64 << 10, MEBIBYTE), Clock::Real), units: 1024 },
    Moved { case: ungated(case("stream-out", 4 << 10, MEBIBYTE), Clock::Real), units: 1024 },
    Moved { case: ungated(case("stream-in", 4 << 10, MEBIBYTE), Clock::Real), units: 1024 },
    Moved { case: ungated(case("records-out", 1000, RECORDS), Clock::Real), units: 1000 },
    Moved { case: ungated(case("records-in", 1000, RECORDS), Clock::Real), units: 1000 },
];

/// Those of `bench-files`.
const FILE_CASES: [Moved; 1] =
    [Moved { case: ungated(case("input-stream", 64 << 10, MEBIBYTE), Clock::Real), units: 1024 }];

/// What moves through a stream, and how many units of it.
struct Moved {
    case: Case,
    units: u32,
}

const ENGINES: [(EngineKind, &str); 2] =
    [(EngineKind::Sync, "sync"), (EngineKind::Concurrent, "concurrent")];

/// The subject comes first, the baselines follow; a row is the subject over one of them.
const CALLS: &[&str] = &["native", "typed", "val"];
const KEYVALUE: &[&str] = &["native", "wasmtime-wasi-keyvalue"];
const STREAMS: &[&str] = &["native", "typed"];

impl Case {
    fn full_name(&self, engine: &str) -> String {
        format!("{engine} {}", self.name)
    }

    fn keys(&self, engine: &str, names: &[&'static str]) -> Vec<Key> {
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

/// Runs the benchmark on the cases whose name, with its bytes, has every word of `only`.
pub(crate) fn run(arguments: &Arguments, only: &str) -> Result<Report> {
    let log = config::Log { filter: "info".to_owned(), format: config::LogFormat::Text };
    let _metrics = observe::begin()
        .and_then(|begun| observe::start_log(&log).and_then(|()| begun.end()))
        .context("cannot start log and metrics")?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let data = tempfile::tempdir()?;
    let mut bench = Bench {
        engines: Engines::new(&Settings { instances: INSTANCES, ..Settings::default() })?,
        natives: Natives::load(&arguments.extensions, data.path())?,
        runtime,
        report: Report::default(),
        keys: Vec::new(),
        only: only.to_owned(),
        alone: arguments.alone.as_deref().map(|name| (name, arguments.calls)),
    };
    let [calls, keyvalue, files, streams] =
        ["bench-guest", "bench-keyvalue", "bench-files", "bench-streams"]
            .map(|name| arguments.components.join(format!("{name}.wasm")));
    describe(arguments, &calls, &keyvalue);

    for (kind, engine) in ENGINES {
        let component = bench.component(kind, &calls)?;
        let mut guests = bench.guests(kind, &component)?;
        for case in &CASES {
            bench.measure(case, engine, CALLS, &mut guests);
        }
        drop(guests);
        let component = bench.component(kind, &keyvalue)?;
        let mut guests = bench.keyvalue_guests(kind, &component)?;
        for case in &KEYVALUE_CASES {
            bench.measure(case, engine, KEYVALUE, &mut guests);
        }
        let component = bench.component(kind, &files)?;
        let mut guests = bench.moving_guests(kind, &component, moving::files_linker)?;
        for moved in &FILE_CASES {
            bench.measure_moved(moved, engine, &mut guests);
        }
    }
    let (kind, engine) = (EngineKind::Concurrent, "concurrent");
    let component = bench.component(kind, &streams)?;
    let mut guests = bench.moving_guests(kind, &component, moving::linker)?;
    for moved in &STREAM_CASES {
        bench.measure_moved(moved, engine, &mut guests);
    }
    drop(guests);

    let Bench { runtime, natives, mut report, keys, alone, .. } = bench;
    runtime.block_on(natives.shutdown());
    if alone.is_some() {
        return Ok(report);
    }
    report.expect(&keys);
    let gated: Vec<_> = ENGINES
        .iter()
        .flat_map(|(_, engine)| CASES.iter().map(move |case| (case, engine)))
        .filter(|(case, _)| case.is_gated)
        .map(|(case, engine)| case.full_name(engine))
        .collect();
    report.at_most(LIMIT, |row| row.baseline == "typed" && gated.contains(&row.case));
    let moved = STREAM_CASES.iter().chain(&FILE_CASES).map(|moved| moved.case.name);
    let moved: Vec<_> = moved.collect();
    report.at_most(STREAMS_LIMIT, |row| moved.iter().any(|name| row.case.contains(name)));
    Ok(report)
}

/// What is measured, with what.
fn describe(arguments: &Arguments, calls: &Path, keyvalue: &Path) {
    println!("guests      {}, {}", calls.display(), keyvalue.display());
    for extension in ["probe", "keyvalue"] {
        let file = arguments.extensions.join(format!("{extension}.so"));
        println!("extension   {}", file.display());
    }
    println!(
        "built       {}, full LTO in the release profile, mimalloc in the host",
        if cfg!(debug_assertions) { "WITHOUT OPTIMISATION" } else { "optimised" }
    );
    println!(
        "stores      epoch interruption every {} ms, memory and hostcall limits, log and metrics on",
        TICK.as_millis()
    );
    println!(
        "times       medians of {ROUNDS} rounds of {} ms, in turns; CPU time of the thread, \
         for `pending` real time",
        ROUND.as_millis()
    );
}

struct Bench<'a> {
    runtime: Runtime,
    engines: Engines,
    natives: Natives,
    report: Report,
    /// The rows that have to be there.
    keys: Vec<Key>,
    only: String,
    /// The one implementation to run, and how many calls of each case.
    alone: Option<(&'a str, u32)>,
}

impl Bench<'_> {
    fn component(&self, kind: EngineKind, file: &Path) -> Result<Component> {
        Component::from_file(self.engines.make(kind)?, file)
            .with_context(|| format!("cannot load {}", file.display()))
    }

    /// The guest in three stores, in the order of `CALLS`.
    fn guests(&self, kind: EngineKind, component: &Component) -> Result<Vec<Guest>> {
        let engine = self.engines.make(kind)?;
        self.runtime.block_on(async {
            Ok(vec![
                Guest::new(engine, component, self.natives.linker(engine, component).await?)
                    .await?,
                Guest::new(engine, component, typed::linker(engine)?).await?,
                Guest::new(engine, component, dynamic::linker(engine)?).await?,
            ])
        })
    }

    /// The guest in two stores, in the order of `KEYVALUE`.
    fn keyvalue_guests(&self, kind: EngineKind, component: &Component) -> Result<Vec<Guest>> {
        let engine = self.engines.make(kind)?;
        self.runtime.block_on(async {
            Ok(vec![
                Guest::new(engine, component, self.natives.linker(engine, component).await?)
                    .await?,
                Guest::new(engine, component, guest::keyvalue_linker(engine)?).await?,
            ])
        })
    }

    /// A guest that moves streams in two stores, in the order of `STREAMS`.
    fn moving_guests(
        &self,
        kind: EngineKind,
        component: &Component,
        typed: impl Fn(&Engine) -> Result<Linker<guest::Data>>,
    ) -> Result<Vec<Guest>> {
        let engine = self.engines.make(kind)?;
        self.runtime.block_on(async {
            Ok(vec![
                Guest::new(engine, component, self.natives.linker(engine, component).await?)
                    .await?,
                Guest::new(engine, component, typed(engine)?).await?,
            ])
        })
    }

    /// Measures what moves through a stream, all of it at a time.
    fn measure_moved(&mut self, moved: &Moved, engine: &str, guests: &mut [Guest]) {
        let Moved { case, units } = moved;
        let full_name = format!("{engine} {} by {}", case.name, case.argument);
        if !self.only.split(' ').all(|word| full_name.contains(word)) {
            return;
        }
        eprintln!("measuring {full_name}, {units} units");
        let key = Key {
            bench: BENCH,
            case: full_name.clone(),
            bytes: case.bytes,
            subject: "native",
            baseline: "typed",
        };
        let runtime = &self.runtime;
        let mut timed: Vec<_> = guests.iter_mut().map(|guest| guest.timed(runtime, case)).collect();
        if let Some((alone, units)) = self.alone {
            let place = STREAMS.iter().position(|name| *name == alone);
            let timed = place.and_then(|place| timed.get_mut(place));
            match timed.map(|timed| timed(units)) {
                Some(Ok(time)) => println!("{full_name} {alone}: {:?} a unit", time / units),
                Some(Err(error)) => self.report.problems.push(format!("{full_name}: {error:#}")),
                None => {}
            }
            return;
        }
        match medians_of(&mut timed, *units, MOVES).as_deref() {
            Ok([subject, baseline]) => {
                self.report.rows.push(key.nanoseconds(*subject, *baseline));
            }
            Ok(_) => {}
            Err(error) => self.report.problems.push(format!("`{full_name}` failed: {error:#}")),
        }
        self.keys.push(key);
    }

    /// Measures a case. One that fails leaves its rows out, and so fails the benchmark.
    fn measure(&mut self, case: &Case, engine: &str, names: &[&'static str], guests: &mut [Guest]) {
        let full_name = case.full_name(engine);
        let with_bytes = format!("{full_name} {}B", case.bytes);
        if !self.only.split(' ').all(|word| with_bytes.contains(word)) {
            return;
        }
        eprintln!("measuring {full_name}, {} bytes", case.bytes);
        let keys = case.keys(engine, names);
        let runtime = &self.runtime;
        let mut timed: Vec<_> = guests.iter_mut().map(|guest| guest.timed(runtime, case)).collect();
        if let Some((alone, calls)) = self.alone {
            let place = names.iter().position(|name| *name == alone);
            let timed = place.and_then(|place| timed.get_mut(place));
            match timed.map(|timed| timed(calls)) {
                Some(Ok(time)) => println!("{full_name} {alone}: {:?} a call", time / calls),
                Some(Err(error)) => self.report.problems.push(format!("{full_name}: {error:#}")),
                None => {}
            }
            return;
        }
        match medians(&mut timed).as_deref() {
            Ok([subject, baselines @ ..]) => {
                let rows = keys.iter().zip(baselines);
                let rows = rows.map(|(key, baseline)| key.nanoseconds(*subject, *baseline));
                self.report.rows.extend(rows);
            }
            Ok([]) => {}
            Err(error) => self.report.problems.push(format!("`{full_name}` failed: {error:#}")),
        }
        self.keys.extend(keys);
    }
}
