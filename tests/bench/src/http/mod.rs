//! `http`: what a request costs.
//!
//! | subject | baselines | guest |
//! |---|---|---|
//! | `backplane host` | `wasmtime serve` with fast flags and with its own, and a plain hyper server | `bench-http` over `wasi:http` 0.2, `bench-http-p3` over 0.3 |
//! | `backplane host` with `counter` | `backplane host` with `hello` | those two examples |
//!
//! Each server is a process of its own on one core, the client is on another.

mod client;
pub(crate) mod hello;
mod measure;
mod response;

use std::{path::Path, time::Duration};

use anyhow::Result;
use clap::Args;

use crate::{
    row::{Key, Report},
    server::{
        BACKPLANE, Cores, Launch, Programs, Running, WASMTIME, WASMTIME_DEFAULT, note_load,
        raise_file_limit,
    },
};
pub(crate) use client::ask;
use measure::{Measured, Plan, measure_cell};

const BENCH: &str = "http";
const HYPER: &str = "hyper";
const COUNTER: &str = "backplane counter";
const HELLO: &str = "backplane hello";

/// Requests under way at a time, each on a connection that is kept.
const CONNECTIONS: [usize; 3] = [1, 64, 512];
/// Bytes of a response's body.
const BODIES: [u32; 3] = [0, 64 << 10, 1 << 20];
/// Files open at once: the most connections, and what else a process has.
const FILES: u64 = 1024;

/// The most CPU time that a request may take, in that of `wasmtime serve`, by the guest's WASI.
const LIMITS: [(&str, f64); 2] = [("0.2", 0.55), ("0.3", 0.9)];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    programs: Programs,
    /// How often each server is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long it is measured each time, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 400)]
    window: u64,
}

/// Servers that are compared with one another. The first is the subject.
struct Group {
    name: &'static str,
    /// Whether the body's size can be chosen.
    is_sized: bool,
    launches: fn(&Programs, &Path) -> Result<Vec<Launch>>,
    names: &'static [&'static str],
}

const GROUPS: [Group; 3] = [
    Group {
        name: "0.2",
        is_sized: true,
        launches: |programs, folder| against_wasmtime(programs, "bench-http", folder),
        names: &AGAINST_WASMTIME,
    },
    Group {
        name: "0.3",
        is_sized: true,
        launches: |programs, folder| against_wasmtime(programs, "bench-http-p3", folder),
        names: &AGAINST_WASMTIME,
    },
    Group {
        name: "counter",
        is_sized: false,
        launches: |programs, folder| {
            let backplane = |guest| programs.backplane(guest, &folder.join(guest));
            Ok(vec![backplane("counter")?.named(COUNTER), backplane("hello")?.named(HELLO)])
        },
        names: &[COUNTER, HELLO],
    },
];

const AGAINST_WASMTIME: [&str; 4] = [BACKPLANE, WASMTIME, WASMTIME_DEFAULT, HYPER];

fn against_wasmtime(programs: &Programs, guest: &str, folder: &Path) -> Result<Vec<Launch>> {
    let hyper = folder.join("hyper");
    std::fs::create_dir_all(&hyper)?;
    Ok(vec![
        programs.backplane(guest, &folder.join("backplane"))?,
        programs.wasmtime_serve(guest, &folder.join("wasmtime"))?,
        programs.wasmtime_serve_default(guest, &folder.join("wasmtime-default"))?,
        Launch::new(HYPER, &std::env::current_exe()?, &hyper).arguments(["hyper-hello"]),
    ])
}

/// What is measured of a server in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    Cpu,
    Rate,
    Median,
    P99,
}

const FIGURES: [Figure; 4] = [Figure::Cpu, Figure::Rate, Figure::Median, Figure::P99];

impl Figure {
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Rate => "rate",
            Self::Median => "p50",
            Self::P99 => "p99",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Cpu | Self::Median | Self::P99 => "us",
            Self::Rate => "1/s",
        }
    }

    fn better(self) -> &'static str {
        match self {
            Self::Cpu | Self::Median | Self::P99 => "lower",
            Self::Rate => "higher",
        }
    }

    fn of(self, measured: &Measured) -> f64 {
        match self {
            Self::Cpu => measured.cpu,
            Self::Rate => measured.rate,
            Self::Median => measured.median,
            Self::P99 => measured.p99,
        }
    }

    /// Whether it is a time at a fixed rate of requests.
    fn is_latency(self) -> bool {
        matches!(self, Self::Median | Self::P99)
    }
}

/// Servers of a group, asked in one way.
struct Cell<'a> {
    group: &'a Group,
    connections: usize,
    bytes: u32,
}

impl Cell<'_> {
    fn name(&self) -> String {
        format!("{} c{}", self.group.name, self.connections)
    }

    fn case(&self, figure: Figure) -> String {
        format!("{} {}", self.name(), figure.name())
    }

    /// The figures that are asked for: those whose case, with its bytes, has every word of `only`.
    fn figures(&self, only: &str) -> Vec<Figure> {
        let is_wanted = |figure: &Figure| {
            let name = format!("{} {}B", self.case(*figure), self.bytes);
            only.split(' ').all(|word| name.contains(word))
        };
        FIGURES.into_iter().filter(is_wanted).collect()
    }

    fn path(&self) -> String {
        if self.group.is_sized { format!("/bytes/{}", self.bytes) } else { "/".to_owned() }
    }

    /// Each row that there has to be of that figure, and the baseline's place among the servers.
    fn keys(&self, figure: Figure) -> impl Iterator<Item = (Key, usize)> {
        let case = self.case(figure);
        let (subject, bytes) = (self.group.names.first().copied().unwrap_or_default(), self.bytes);
        let baselines = self.group.names.iter().enumerate().skip(1);
        baselines.map(move |(at, &baseline)| {
            (Key { bench: BENCH, case: case.clone(), bytes, subject, baseline }, at)
        })
    }
}

/// Runs the benchmark on the cases that have every word of `only`.
pub(crate) fn run(arguments: &Arguments, only: &str) -> Result<Report> {
    raise_file_limit(FILES)?;
    let cores = Cores::take()?;
    let plan = Plan { rounds: arguments.rounds, window: Duration::from_millis(arguments.window) };
    describe(arguments, cores, &plan)?;
    let folder = tempfile::tempdir()?;
    let mut report = Report::default();
    let mut keys = Vec::new();
    for group in &GROUPS {
        let cells = group.cells().filter(|cell| !cell.figures(only).is_empty());
        let cells: Vec<_> = cells.collect();
        if cells.is_empty() {
            continue;
        }
        let started = group.start(&arguments.programs, cores, &folder.path().join(group.name));
        let servers = started.unwrap_or_else(|error| {
            report.problems.push(format!("`{}` failed: {error:#}", group.name));
            Vec::new()
        });
        for cell in &cells {
            let figures = cell.figures(only);
            if !servers.is_empty() {
                measure_cell(cell, &figures, &servers, &plan, &mut report);
            }
            keys.extend(figures.iter().flat_map(|figure| cell.keys(*figure)).map(|(key, _)| key));
        }
    }
    report.expect(&keys);
    for (name, limit) in LIMITS {
        report.at_most(limit, |row| {
            row.baseline == WASMTIME && row.case.starts_with(name) && row.case.ends_with("cpu")
        });
    }
    Ok(report)
}

impl Group {
    fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        let bodies = if self.is_sized { &BODIES[..] } else { &[0] };
        bodies.iter().flat_map(move |&bytes| {
            CONNECTIONS.into_iter().map(move |connections| Cell { group: self, connections, bytes })
        })
    }

    fn start(&self, programs: &Programs, cores: Cores, folder: &Path) -> Result<Vec<Running>> {
        let mut servers = Vec::new();
        for launch in (self.launches)(programs, folder)? {
            let mut server = launch.start(Some(cores.server))?;
            server.connect()?;
            servers.push(server);
        }
        Ok(servers)
    }
}

/// What is measured, with what.
fn describe(arguments: &Arguments, cores: Cores, plan: &Plan) -> Result<()> {
    arguments.programs.describe()?;
    println!("least       hyper, which answers as many bytes: {HYPER}, one thread, mimalloc");
    println!(
        "cores       server on {}, client on {}; connections kept, HTTP/1.1",
        cores.server, cores.client
    );
    println!(
        "figures     medians of {} rounds of {} ms, in turns; cpu: of all the server's threads, a \
         request; p50, p99: at half the rate that the slowest can do, arrivals at random, \
         from when a request is due",
        plan.rounds,
        plan.window.as_millis()
    );
    note_load();
    Ok(())
}
