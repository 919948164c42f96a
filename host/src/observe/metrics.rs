//! The recorder of the host's metrics, which Prometheus reads.

use std::{
    convert::Infallible,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::ObserveError;
use crate::metric::{ALL, BUILD_INFO, Kind, Metric, START_TIME};

/// Upper bounds of the buckets of durations, in seconds: from a call in process to a slow request.
const SECONDS: [f64; 15] = [
    0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0,
    30.0,
];

/// How often samples are folded into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// The recorder being made: its clock is measured against the system's for a millisecond, or for longer on
/// a busy machine.
pub struct Making(JoinHandle<Result<Metrics, ObserveError>>);

impl Making {
    /// Begins on a thread of its own.
    pub(super) fn begin() -> Result<Self, ObserveError> {
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(Metrics::install);
        thread.map(Self).map_err(ObserveError::Thread)
    }

    /// Waits until there are metrics.
    ///
    /// # Errors
    ///
    /// [`ObserveError`] when there are some already.
    pub fn end(self) -> Result<Metrics, ObserveError> {
        self.0.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// The process's metrics, to be read.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    fn install() -> Result<Self, ObserveError> {
        let mut builder = PrometheusBuilder::new();
        for metric in ALL.iter().filter(|metric| metric.kind == Kind::Seconds) {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, &SECONDS)?;
        }
        let handle = builder.install_recorder()?;
        for Metric { name, kind, description, .. } in ALL {
            match kind {
                Kind::Counter => describe_counter!(name, description),
                Kind::Gauge => describe_gauge!(name, description),
                Kind::Seconds => describe_histogram!(name, Unit::Seconds, description),
            }
        }
        note_build();
        Ok(Self { handle })
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Keeps memory bounded between two readings. To be spawned once; it never ends.
    pub async fn keep_up(self) -> Infallible {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            self.handle.run_upkeep();
        }
    }
}

/// What does not change while the process runs.
fn note_build() {
    gauge!(
        BUILD_INFO.name,
        "version" => env!("CARGO_PKG_VERSION"),
        "abi" => backplane_abi::ABI_VERSION
    )
    .set(1.0);
    // A clock before 1970 is not worth an error.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!(START_TIME.name).set(now.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{REQUEST_SECONDS, REQUESTS};

    #[test]
    fn a_metric_is_rendered_with_its_description() {
        let metrics = Metrics::install().unwrap();
        ::metrics::counter!(REQUESTS.name, "workload" => "a", "ended" => "well").increment(2);
        ::metrics::histogram!(REQUEST_SECONDS.name, "workload" => "a").record(0.02);
        let text = metrics.render();
        for line in [
            "backplane_requests_total{workload=\"a\",ended=\"well\"} 2",
            "backplane_request_duration_seconds_bucket{workload=\"a\",le=\"0.05\"} 1",
            "# HELP backplane_requests_total Requests, calls of exports and commands that ended.",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
