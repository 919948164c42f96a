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

mod cases;
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
use cases::{
    CALLS, CASES, Case, ENGINES, FILE_CASES, KEYVALUE, KEYVALUE_CASES, STREAM_CASES, STREAMS,
};
use guest::Guest;
use native::Natives;

const BENCH: &str = "boundary";
/// Instances that each engine has room for: one for each implementation, and some.
const INSTANCES: u32 = 8;
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

/// Runs the benchmark on the cases of whose name, with its bytes, every word of `only` begins a word.
pub(crate) fn run(arguments: &Arguments, only: &str) -> Result<Report> {
    let log = config::Log { filter: "info".to_owned(), format: config::LogFormat::Text };
    let _metrics = observe::begin()
        .and_then(|begun| observe::start_log(&log).and_then(|()| begun.end()))
        .context("cannot start log and metrics")?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let data = tempfile::tempdir()?;
    // One alone, so that it needs little address space: under valgrind there is not much.
    let instances = if arguments.alone.is_some() { 1 } else { INSTANCES };
    let mut bench = Bench {
        engines: Engines::new(&Settings { instances, ..Settings::default() })?,
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
        let on = (kind, engine);
        bench.all(on, &calls, CALLS, &CASES, |engine, name| match name {
            "typed" => typed::linker(engine),
            _ => dynamic::linker(engine),
        })?;
        let linker = |engine: &Engine, _: &str| guest::keyvalue_linker(engine);
        bench.all(on, &keyvalue, KEYVALUE, &KEYVALUE_CASES, linker)?;
        let linker = |engine: &Engine, _: &str| moving::files_linker(engine);
        bench.all(on, &files, STREAMS, &FILE_CASES, linker)?;
    }
    let linker = |engine: &Engine, _: &str| moving::linker(engine);
    bench.all((EngineKind::Concurrent, "concurrent"), &streams, STREAMS, &STREAM_CASES, linker)?;

    let Bench { runtime, natives, mut report, keys, alone, .. } = bench;
    runtime.block_on(natives.shutdown());
    if alone.is_some() {
        return Ok(report);
    }
    report.expect(&keys);
    for (_, engine) in ENGINES {
        for case in CASES.iter().chain(&STREAM_CASES).chain(&FILE_CASES) {
            let (Some(limit), name) = (case.limit, case.full_name(engine)) else { continue };
            report.at_most(limit, |row| {
                row.baseline == "typed" && row.case == name && row.bytes == case.bytes
            });
        }
    }
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
         for `pending` real time; of streams, real time of {MOVES} rounds of all of it",
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
    /// Measures the cases of one guest; where none is asked for, it is not loaded.
    fn all(
        &mut self,
        (kind, engine): (EngineKind, &str),
        file: &Path,
        names: &[&'static str],
        cases: &[Case],
        linker: impl Fn(&Engine, &str) -> Result<Linker<guest::Data>>,
    ) -> Result<()> {
        let asked_for = cases.iter().filter(|case| case.is_asked_for(engine, &self.only));
        let asked_for: Vec<_> = asked_for.collect();
        if asked_for.is_empty() {
            return Ok(());
        }
        let component = self.component(kind, file)?;
        let mut guests = self.guests(kind, &component, names, linker)?;
        for case in asked_for {
            self.measure(case, engine, names, &mut guests);
        }
        Ok(())
    }

    fn component(&self, kind: EngineKind, file: &Path) -> Result<Component> {
        Component::from_file(self.engines.make(kind)?, file)
            .with_context(|| format!("cannot load {}", file.display()))
    }

    /// The guest in a store for each implementation, in the order of their names; of one that runs alone, in that one's.
    fn guests(
        &self,
        kind: EngineKind,
        component: &Component,
        names: &[&'static str],
        linker: impl Fn(&Engine, &str) -> Result<Linker<guest::Data>>,
    ) -> Result<Vec<Guest>> {
        let engine = self.engines.make(kind)?;
        let wanted = |name: &&&str| self.alone.is_none_or(|(alone, _)| alone == **name);
        self.runtime.block_on(async {
            let mut guests = Vec::new();
            for name in names.iter().filter(wanted) {
                let linker = match *name {
                    "native" => self.natives.linker(engine, component).await?,
                    name => linker(engine, name)?,
                };
                guests.push(Guest::new(engine, component, linker).await?);
            }
            Ok(guests)
        })
    }

    /// Measures a case. One that fails leaves its rows out, and so fails the benchmark.
    fn measure(&mut self, case: &Case, engine: &str, names: &[&'static str], guests: &mut [Guest]) {
        let full_name = case.full_name(engine);
        eprintln!("measuring {full_name}, {} bytes", case.bytes);
        let keys = case.keys(engine, names);
        let runtime = &self.runtime;
        // Of one that runs alone a profiler tells more than the time; under valgrind there is no other clock.
        let clock = if self.alone.is_some() { Clock::Real } else { case.clock };
        let timed = |guest| Guest::timed(guest, runtime, case, clock);
        let mut timed: Vec<_> = guests.iter_mut().map(timed).collect();
        if let Some((alone, calls)) = self.alone {
            match timed.first_mut().map(|timed| timed(calls)) {
                Some(Ok(time)) => println!("{full_name} {alone}: {:?} each", time / calls.max(1)),
                Some(Err(error)) => self.report.problems.push(format!("{full_name}: {error:#}")),
                None => {}
            }
            return;
        }
        let measured = match case.units {
            Some(units) => medians_of(&mut timed, units, MOVES),
            None => medians(&mut timed),
        };
        match measured.as_deref() {
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
