//! Measures servers in turns: first as fast as they go, then at a rate that all of them can hold.

use std::{iter::zip, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    Cell, Figure, HYPER,
    client::{Arrivals, Client},
};
use crate::{measure::median, row::Report, server::Running};

/// How long a server is asked before it is measured for the first time.
const WARM: Duration = Duration::from_millis(200);
/// What part of its capacity the slowest server is given to do when latency is measured.
const LOAD: f64 = 0.5;

/// How often is measured, and for how long.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) rounds: usize,
    pub(super) window: Duration,
}

/// What was measured of a server: medians of the rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// CPU time of the server, in microseconds a request.
    pub(super) cpu: f64,
    /// The same of the client.
    client_cpu: f64,
    /// Requests a second.
    pub(super) rate: f64,
    /// Times from when a request is due to the end of its response, in microseconds.
    pub(super) median: f64,
    pub(super) p99: f64,
}

/// Measures a cell and adds its rows. One that fails leaves them out, and so fails the benchmark.
pub(super) fn measure_cell(
    cell: &Cell<'_>,
    figures: &[Figure],
    servers: &[Running],
    plan: &Plan,
    report: &mut Report,
) {
    let name = format!("{}, {} bytes", cell.name(), cell.bytes);
    match measure(cell, figures, servers, plan) {
        Ok(measured) => {
            say(&name, figures, servers, &measured);
            report.problems.extend(bottleneck(cell, servers, &measured));
            for &figure in figures {
                for (key, baseline) in cell.keys(figure) {
                    let value = |at: usize| measured.get(at).map_or(f64::NAN, |of| figure.of(of));
                    report.rows.push(key.row(
                        figure.unit(),
                        figure.better(),
                        value(0),
                        value(baseline),
                    ));
                }
            }
        }
        Err(error) => report.problems.push(format!("`{name}` failed: {error:#}")),
    }
}

fn measure(
    cell: &Cell<'_>,
    figures: &[Figure],
    servers: &[Running],
    plan: &Plan,
) -> Result<Vec<Measured>> {
    let mut measured = at_full_speed(cell, servers, plan)?;
    if figures.iter().any(|figure| figure.is_latency()) {
        let capacities = zip(servers, &measured).filter(|(server, _)| server.name != HYPER);
        let slowest = capacities.map(|(_, of)| of.rate).fold(f64::INFINITY, f64::min);
        at_rate(cell, servers, plan, slowest * LOAD, &mut measured)?;
    }
    Ok(measured)
}

/// Each connection asks again as soon as it has its answer.
fn at_full_speed(cell: &Cell<'_>, servers: &[Running], plan: &Plan) -> Result<Vec<Measured>> {
    for server in servers {
        server.empty_log()?;
        let mut client = connect(cell, server)?;
        client.ask_for(WARM).with_context(|| format!("asking {}", server.name))?;
    }
    let mut samples = vec![Vec::new(); servers.len()];
    in_turns(plan, servers, &mut samples, |_, server| {
        let mut client = connect(cell, server)?;
        let before = server.cpu()?;
        let window = client.ask_for(plan.window)?;
        let cpu = server.cpu()?.since(&before);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(window.completed);
        let rate = f64::from(window.completed) / window.time.as_secs_f64();
        Ok(Measured { cpu: each(cpu), client_cpu: each(window.cpu), rate, ..Measured::default() })
    })?;
    let medians = |samples: &Vec<Measured>| Measured {
        cpu: median_of(samples, |sample| sample.cpu),
        client_cpu: median_of(samples, |sample| sample.client_cpu),
        rate: median_of(samples, |sample| sample.rate),
        ..Measured::default()
    };
    Ok(samples.iter().map(medians).collect())
}

/// Requests come at that rate, whether or not those before have been answered.
fn at_rate(
    cell: &Cell<'_>,
    servers: &[Running],
    plan: &Plan,
    rate: f64,
    measured: &mut [Measured],
) -> Result<()> {
    let mut samples = vec![Vec::new(); servers.len()];
    in_turns(plan, servers, &mut samples, |round, server| {
        let mut client = connect(cell, server)?;
        let mut times = client.ask_when_due(Arrivals::at(rate, round as u64), plan.window)?;
        times.sort_unstable();
        let at = |part: f64| {
            let place = (times.len() as f64 * part) as usize;
            times.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
        };
        Ok((at(0.5), at(0.99)))
    })?;
    for (measured, samples) in zip(measured, &samples) {
        measured.median = median_of(samples, |sample| sample.0);
        measured.p99 = median_of(samples, |sample| sample.1);
    }
    Ok(())
}

/// In every round, every server; a different one first.
fn in_turns<T>(
    plan: &Plan,
    servers: &[Running],
    samples: &mut [Vec<T>],
    sample: impl Fn(usize, &Running) -> Result<T>,
) -> Result<()> {
    for round in 0..plan.rounds {
        let mut turns: Vec<_> = zip(servers, &mut *samples).collect();
        let first = round % turns.len().max(1);
        turns.rotate_left(first);
        for (server, samples) in turns {
            let sample = sample(round, server);
            samples.push(sample.with_context(|| format!("asking {}", server.name))?);
        }
    }
    Ok(())
}

fn connect(cell: &Cell<'_>, server: &Running) -> Result<Client> {
    Client::connect(server.address, &cell.path(), cell.connections)
        .with_context(|| format!("connecting to {}", server.name))
}

fn median_of<T>(samples: &[T], value: impl Fn(&T) -> f64) -> f64 {
    median(samples.iter().map(value).collect())
}

/// With many connections the fastest server has to be busier than the client, or the client is what
/// was measured.
fn bottleneck(cell: &Cell<'_>, servers: &[Running], measured: &[Measured]) -> Option<String> {
    let (_, hyper) = zip(servers, measured).find(|(server, _)| server.name == HYPER)?;
    (cell.connections > 1 && hyper.client_cpu > hyper.cpu).then(|| {
        format!(
            "`{}` with {} bytes: the client took {:.1} us of CPU a request and hyper {:.1}: \
             the client was the bottleneck",
            cell.name(),
            cell.bytes,
            hyper.client_cpu,
            hyper.cpu
        )
    })
}

/// Lines for those who wait.
fn say(name: &str, figures: &[Figure], servers: &[Running], measured: &[Measured]) {
    let each = |value: &dyn Fn(&Measured) -> f64| {
        let each = zip(servers, measured);
        let each = each.map(|(server, of)| format!("{} {:.1}", server.name, value(of)));
        each.collect::<Vec<_>>().join(", ")
    };
    eprintln!("{name}");
    for figure in figures {
        eprintln!("  {:4} {:3}  {}", figure.name(), figure.unit(), each(&|of| figure.of(of)));
    }
    eprintln!("  client us   {}", each(&|of| of.client_cpu));
}
