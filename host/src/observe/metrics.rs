//! The metrics: their names in one place, and the recorder that Prometheus reads.
//!
//! Handles (`counter!`, `gauge!`, `histogram!`) are taken when a link is made or a workload made ready,
//! never for each call.

use std::{convert::Infallible, time::Duration};

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::ObserveError;

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A count that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// A distribution of seconds.
    Seconds,
}

/// A metric: what it is called, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What it says.
    pub description: &'static str,
    /// The labels of each of its series.
    pub labels: &'static [&'static str],
}

/// Calls into providers.
pub const CALLS: Metric = Metric {
    name: "backplane_calls_total",
    kind: Kind::Counter,
    description: "Calls into providers.",
    labels: &["workload", "provider", "interface"],
};

/// Calls that the provider failed to answer.
pub const CALL_FAILURES: Metric = Metric {
    name: "backplane_call_failures_total",
    kind: Kind::Counter,
    description: "Calls that a provider failed to answer: a panic, a lost server, a deadline. An error \
                  of the interface's own is an answer.",
    labels: &["workload", "provider", "interface"],
};

/// Calls that wait for the provider.
pub const CALLS_PENDING: Metric = Metric {
    name: "backplane_calls_pending",
    kind: Kind::Gauge,
    description: "Calls that wait for a provider's answer.",
    labels: &["workload", "provider", "interface"],
};

/// Resources that guests hold.
pub const HANDLES: Metric = Metric {
    name: "backplane_handles",
    kind: Kind::Gauge,
    description: "Handles of a provider's resources that guests hold.",
    labels: &["workload", "provider"],
};

/// Requests and commands that ended.
pub const REQUESTS: Metric = Metric {
    name: "backplane_requests_total",
    kind: Kind::Counter,
    description: "Requests and commands that ended. The label `ended` says how: `well`, `trap`, \
                  `no-response`, `error`, `provider`, `host`, `cancelled` when the client left, or \
                  the limit that was hit: `deadline`, `cpu`, `memory`, `refused`.",
    labels: &["workload", "ended"],
};

/// How long requests took.
pub const REQUEST_SECONDS: Metric = Metric {
    name: "backplane_request_duration_seconds",
    kind: Kind::Seconds,
    description: "Time from a request's start to the end of its response.",
    labels: &["workload"],
};

/// Requests that run now.
pub const REQUESTS_RUNNING: Metric = Metric {
    name: "backplane_requests_running",
    kind: Kind::Gauge,
    description: "Requests that run now.",
    labels: &["workload"],
};

/// Every metric of the host.
pub const ALL: [Metric; 7] =
    [CALLS, CALL_FAILURES, CALLS_PENDING, HANDLES, REQUESTS, REQUEST_SECONDS, REQUESTS_RUNNING];

/// Upper bounds of the buckets of durations, in seconds: from a call in process to a slow request.
const SECONDS: [f64; 15] = [
    0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0,
    30.0,
];

/// How often samples are folded into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// The process's metrics, to be read.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    pub(super) fn install() -> Result<Self, ObserveError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_rendered_with_its_description() {
        let metrics = Metrics::install().unwrap();
        ::metrics::counter!(REQUESTS.name, "workload" => "a", "ended" => "well").increment(2);
        ::metrics::histogram!(REQUEST_SECONDS.name, "workload" => "a").record(0.02);
        let text = metrics.render();
        for line in [
            "backplane_requests_total{workload=\"a\",ended=\"well\"} 2",
            "backplane_request_duration_seconds_bucket{workload=\"a\",le=\"0.05\"} 1",
            "# HELP backplane_requests_total Requests and commands that ended.",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn names_follow_prometheus_conventions() {
        for metric in ALL {
            assert!(metric.name.starts_with("backplane_"), "{}", metric.name);
            let suffix = match metric.kind {
                Kind::Counter => metric.name.ends_with("_total"),
                Kind::Seconds => metric.name.ends_with("_seconds"),
                Kind::Gauge => !metric.name.ends_with("_total"),
            };
            assert!(suffix, "{}", metric.name);
            assert!(metric.description.ends_with('.'), "{}", metric.name);
        }
    }
}
