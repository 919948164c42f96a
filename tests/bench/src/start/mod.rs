//! `start`: how long it takes until a server answers, from nothing and after it was left alone.
//!
//! `backplane host` against `wasmtime serve`, on the guests of `http`.

use std::{
    fs, io,
    iter::zip,
    net::TcpStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    http::ask,
    measure::median,
    row::{Key, Report},
    server::{BACKPLANE, Launch, Programs, WASMTIME, note_load},
};

const BENCH: &str = "start";
/// The most that each may take, in what `wasmtime serve` takes.
const LIMIT: f64 = 1.0;

const GUESTS: [(&str, &str); 2] = [("0.2", "bench-http"), ("0.3", "bench-http-p3")];
const PATH: &str = "/bytes/0";

/// From the start of the process to the first connection.
const LISTENING: &str = "listening";
/// From the start of the process to the first response, compiled before: in our cache, in a `.cwasm`.
const WARM: &str = "first-200 warm";
/// The same where both have to compile.
const COLD: &str = "first-200 cold";
/// From a new connection to its first response, when no instance is left.
const IDLE: &str = "idle";

/// How often is measured: odd numbers, for the median.
const ROUNDS: usize = 15;
const COLD_ROUNDS: usize = 5;
const IDLE_ROUNDS: usize = 7;

/// What a server answers before it is left alone.
const REQUESTS: usize = 100;
/// How long it is then left alone: longer than either keeps an instance that nobody uses. Nothing else
/// that an hour would do is in either of them; what the machine's caches hold is not put out.
const LEFT_ALONE: Duration = Duration::from_secs(11);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    programs: Programs,
}

/// Runs the benchmark on the cases whose name contains `only`.
pub(crate) fn run(arguments: &Arguments, only: &str) -> Result<Report> {
    let programs = &arguments.programs;
    programs.describe()?;
    println!(
        "figures     medians of {ROUNDS} starts, {COLD_ROUNDS} where both compile, and {IDLE_ROUNDS} \
         times of {} s left alone, in turns; not pinned",
        LEFT_ALONE.as_secs()
    );
    note_load();
    let folder = tempfile::tempdir()?;
    let mut bench =
        Bench { programs, report: Report::default(), keys: Vec::new(), only: only.to_owned() };
    for (guest, component) in GUESTS {
        bench.measure(guest, component, &folder.path().join(guest));
    }
    let Bench { mut report, keys, .. } = bench;
    report.expect(&keys);
    report.at_most(LIMIT, |_| true);
    Ok(report)
}

struct Bench<'a> {
    programs: &'a Programs,
    report: Report,
    /// The rows that have to be there.
    keys: Vec<Key>,
    only: String,
}

/// Seconds that the subject took and that the baseline took, measured in turns.
type Pair = [Vec<f64>; 2];
/// Measures a guest; the folder is for the servers.
type Measure = fn(&Programs, &str, &Path) -> Result<Vec<Pair>>;

/// What is measured together.
const MEASURES: [(&[&str], Measure); 3] =
    [(&[LISTENING, WARM], warm), (&[COLD], cold), (&[IDLE], idle)];

impl Bench<'_> {
    /// Measures all of a guest. What fails leaves its rows out, and so fails the benchmark.
    fn measure(&mut self, guest: &str, component: &str, folder: &Path) {
        for (names, measure) in MEASURES {
            let keys: Vec<_> = names.iter().map(|name| key(guest, name)).collect();
            let is_wanted = |key: &Key| key.case.contains(&self.only);
            if !keys.iter().any(is_wanted) {
                continue;
            }
            eprintln!("measuring {guest} {}", names.join(", "));
            let wanted: Vec<_> = keys.iter().map(is_wanted).collect();
            match measure(self.programs, component, folder) {
                Ok(pairs) => {
                    for ((key, pair), _) in zip(zip(&keys, pairs), &wanted).filter(|(_, is)| **is) {
                        let [subject, baseline] = pair.map(|times| median(times) * 1e3);
                        self.report.rows.push(key.row("ms", "lower", subject, baseline));
                    }
                }
                Err(error) => {
                    let names = names.join(", ");
                    self.report.problems.push(format!("`{guest} {names}` failed: {error:#}"));
                }
            }
            self.keys.extend(zip(keys, wanted).filter(|(_, is)| *is).map(|(key, _)| key));
        }
    }
}

fn key(guest: &str, name: &str) -> Key {
    Key {
        bench: BENCH,
        case: format!("{guest} {name}"),
        bytes: 0,
        subject: BACKPLANE,
        baseline: WASMTIME,
    }
}

/// Starts each again and again, with what it compiled before.
fn warm(programs: &Programs, guest: &str, folder: &Path) -> Result<Vec<Pair>> {
    let launches = [
        programs.backplane(guest, &folder.join("backplane"))?,
        programs.wasmtime_serve(guest, &folder.join("wasmtime"))?,
    ];
    // Fills the cache, ours and the file system's.
    for launch in &launches {
        start(launch)?;
    }
    let (mut connected, mut answered) = (Pair::default(), Pair::default());
    for round in 0..ROUNDS {
        for at in turns(round) {
            if let (Some(launch), Some(connected), Some(answered)) =
                (launches.get(at), connected.get_mut(at), answered.get_mut(at))
            {
                let times = start(launch)?;
                connected.push(times.connected);
                answered.push(times.answered);
            }
        }
    }
    Ok(vec![connected, answered])
}

/// Starts each so that it has to compile: ours on an empty data folder, `wasmtime serve` on a `.wasm`.
fn cold(programs: &Programs, guest: &str, folder: &Path) -> Result<Vec<Pair>> {
    let folder = folder.join("cold");
    let ours = folder.join("backplane");
    let launches = [
        programs.backplane(guest, &ours)?,
        programs.wasmtime_serve_wasm(guest, &folder.join("wasmtime"))?,
    ];
    let mut answered = Pair::default();
    for round in 0..COLD_ROUNDS {
        for at in turns(round) {
            match fs::remove_dir_all(ours.join("data")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).context("cannot empty the host's data folder");
                }
                _ => {}
            }
            if let (Some(launch), Some(answered)) = (launches.get(at), answered.get_mut(at)) {
                answered.push(start(launch)?.answered);
            }
        }
    }
    Ok(vec![answered])
}

/// Lets both answer for a while, leaves them alone, and asks each once.
#[expect(clippy::disallowed_methods, reason = "that nothing is asked for a while is measured")]
fn idle(programs: &Programs, guest: &str, folder: &Path) -> Result<Vec<Pair>> {
    let folder = folder.join("idle");
    let mut servers = [
        programs.backplane(guest, &folder.join("backplane"))?.start(None)?,
        programs.wasmtime_serve(guest, &folder.join("wasmtime"))?.start(None)?,
    ];
    let mut times = Pair::default();
    for round in 0..IDLE_ROUNDS {
        for server in &mut servers {
            let mut stream = server.connect()?;
            for _ in 0..REQUESTS {
                ask(&mut stream, PATH)?;
            }
        }
        thread::sleep(LEFT_ALONE);
        for at in turns(round) {
            if let (Some(server), Some(times)) = (servers.get(at), times.get_mut(at)) {
                let begun = Instant::now();
                let mut stream = TcpStream::connect(server.address)?;
                ask(&mut stream, PATH).with_context(|| format!("asking {}", server.name))?;
                times.push(begun.elapsed().as_secs_f64());
            }
        }
    }
    Ok(vec![times])
}

/// Seconds from the start of a process.
struct Started {
    connected: f64,
    answered: f64,
}

fn start(launch: &Launch) -> Result<Started> {
    let mut server = launch.start(None)?;
    let mut stream = server.connect()?;
    let connected = server.begun.elapsed().as_secs_f64();
    ask(&mut stream, PATH).with_context(|| format!("asking {}", server.name))?;
    Ok(Started { connected, answered: server.begun.elapsed().as_secs_f64() })
}

/// Who comes first alternates.
fn turns(round: usize) -> [usize; 2] {
    if round.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}
