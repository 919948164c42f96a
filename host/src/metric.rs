//! The metrics of the host: what each is called, and what it says.
//!
//! Handles (`counter!`, `gauge!`, `histogram!`) are taken when a link is made or a workload made ready,
//! never for each call.

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
    description: "Calls into providers. An instance tells of them every 256 calls, and when its \
                  requests have ended.",
    labels: &["provider", "interface", "function"],
};

/// Calls that the provider failed to answer.
pub const CALL_FAILURES: Metric = Metric {
    name: "backplane_call_failures_total",
    kind: Kind::Counter,
    description: "Calls that a provider failed to answer: a panic, a lost server, a deadline. An error \
                  of the interface's own is an answer. The label `kind` says what failed.",
    labels: &["provider", "interface", "function", "kind"],
};

/// Calls of workloads by their providers.
pub const EXPORT_CALLS: Metric = Metric {
    name: "backplane_export_calls_total",
    kind: Kind::Counter,
    description: "Calls by providers of what workloads export.",
    labels: &["workload", "provider", "interface", "function"],
};

/// Those that the workload failed to answer.
pub const EXPORT_CALL_FAILURES: Metric = Metric {
    name: "backplane_export_call_failures_total",
    kind: Kind::Counter,
    description: "Those that the workload did not answer, or was not asked: the label `kind` says what \
                  failed. How the guest itself ended is in `backplane_requests_total`.",
    labels: &["workload", "provider", "interface", "function", "kind"],
};

/// Calls that wait for the provider.
pub const CALLS_PENDING: Metric = Metric {
    name: "backplane_calls_pending",
    kind: Kind::Gauge,
    description: "Calls that wait for a provider's answer.",
    labels: &["provider"],
};

/// Resources that guests hold.
pub const HANDLES: Metric = Metric {
    name: "backplane_handles",
    kind: Kind::Gauge,
    description: "Handles of a provider's resources that guests hold.",
    labels: &["provider"],
};

/// Requests and commands that ended.
pub const REQUESTS: Metric = Metric {
    name: "backplane_requests_total",
    kind: Kind::Counter,
    description: "Requests, calls of exports and commands that ended. The label `ended` says how: `well`, `trap`, \
                  `no-response`, `error`, `provider`, `arguments`, `host`, `cancelled` when the client \
                  left; the \
                  limit that was hit: `deadline`, `cpu`, `memory`, `table-elements`, `instances`, \
                  `tables`, `memories`, `hostcall`; or why it was refused: `queue-full`, `queue-wait`, \
                  `host-full`.",
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

/// Requests that wait to run.
pub const REQUESTS_QUEUED: Metric = Metric {
    name: "backplane_requests_queued",
    kind: Kind::Gauge,
    description: "Requests that wait until one of their workload's, or of the host's, has ended.",
    labels: &["workload"],
};

/// Limits that were hit.
pub const LIMITS_HIT: Metric = Metric {
    name: "backplane_limits_hit_total",
    kind: Kind::Counter,
    description: "Requests and commands that a limit ended or kept out. The label `limit` is the \
                  limit's key in the configuration.",
    labels: &["workload", "limit"],
};

/// CPU time of guests.
pub const GUEST_CPU_SECONDS: Metric = Metric {
    name: "backplane_guest_cpu_seconds",
    kind: Kind::Seconds,
    description: "CPU time of a request or command: in the guest and the host functions it calls, and \
                  for making and clearing its instance. The sum is what the workload has used.",
    labels: &["workload"],
};

/// Instances that there are.
pub const INSTANCES: Metric = Metric {
    name: "backplane_instances",
    kind: Kind::Gauge,
    description: "Instances that answer requests now, or wait for one.",
    labels: &["workload"],
};

/// Instances that were made.
pub const INSTANCES_STARTED: Metric = Metric {
    name: "backplane_instances_started_total",
    kind: Kind::Counter,
    description: "Instances that were made to answer requests.",
    labels: &["workload"],
};

/// Instances that ended.
pub const INSTANCES_ENDED: Metric = Metric {
    name: "backplane_instances_ended_total",
    kind: Kind::Counter,
    description: "Instances that ended. The label `why` says why: `used-up` when it had answered as many \
                  requests as it may, `idle`, `failed` when it trapped or hit a limit, `cancelled` when a \
                  client left whose request could not be ended alone, or `closed` when the host stopped.",
    labels: &["workload", "why"],
};

/// Attempts of guests that were denied.
pub const EGRESS_DENIED: Metric = Metric {
    name: "backplane_egress_denied_total",
    kind: Kind::Counter,
    description: "Attempts to reach what the workload is not granted. The label `kind` says what was \
                  tried: `http`, `tcp`, `udp`, `listen`, or `name` for the look-up of one.",
    labels: &["workload", "kind"],
};

/// Outbound requests that ended.
pub const OUTBOUND_REQUESTS: Metric = Metric {
    name: "backplane_outbound_requests_total",
    kind: Kind::Counter,
    description: "Outbound requests of guests. The label `outcome` says how far they came: `answered`, \
                  `denied`, `limited` when there were too many, `timeout`, `failed`, or `cancelled` \
                  when the guest gave up.",
    labels: &["workload", "outcome"],
};

/// Connections for outbound requests.
pub const OUTBOUND_CONNECTIONS: Metric = Metric {
    name: "backplane_outbound_connections",
    kind: Kind::Gauge,
    description: "Open connections for outbound requests, idle ones included.",
    labels: &["workload"],
};

/// Connections that are open now.
pub const CONNECTIONS: Metric = Metric {
    name: "backplane_connections",
    kind: Kind::Gauge,
    description: "Connections of clients that are open now.",
    labels: &[],
};

/// Connections that the host cut.
pub const CONNECTIONS_CUT: Metric = Metric {
    name: "backplane_connections_cut_total",
    kind: Kind::Counter,
    description: "Connections that the host cut. The label `why` says what took too long or failed: \
                  `head`, the head of a request; `write`, the client's reading of a response; \
                  `handshake`, that of TLS.",
    labels: &["why"],
};

/// Calls that held a thread of the host for too long.
pub const CALLS_BLOCKING: Metric = Metric {
    name: "backplane_calls_blocking_total",
    kind: Kind::Counter,
    description: "Calls into providers that held a thread of the host for longer than the watchdog \
                  allows (`admin.watchdog`): the provider blocks where it should wait.",
    labels: &["provider", "interface", "function"],
};

/// Threads that such calls hold now.
pub const THREADS_BLOCKED: Metric = Metric {
    name: "backplane_threads_blocked",
    kind: Kind::Gauge,
    description: "Threads of the host that a call into a provider holds, for longer than the watchdog \
                  allows.",
    labels: &[],
};

/// How long work waits for a thread of the host.
pub const WATCHDOG_LAG: Metric = Metric {
    name: "backplane_watchdog_lag_seconds",
    kind: Kind::Gauge,
    description: "How long the watchdog's latest piece of work has waited for a thread of the host.",
    labels: &[],
};

/// Whether the host is ready.
pub const READY: Metric = Metric {
    name: "backplane_ready",
    kind: Kind::Gauge,
    description: "1 while `/readyz` answers 200, else 0.",
    labels: &[],
};

/// Requests on the admin address.
pub const ADMIN_REQUESTS: Metric = Metric {
    name: "backplane_admin_requests_total",
    kind: Kind::Counter,
    description: "Requests on the admin address. The label `path` is `/livez`, `/readyz`, `/metrics` or \
                  `other`.",
    labels: &["path", "status"],
};

/// When the process was started.
pub const START_TIME: Metric = Metric {
    name: "backplane_start_time_seconds",
    kind: Kind::Gauge,
    description: "When the process was started, in seconds since 1970.",
    labels: &[],
};

/// Which build it is.
pub const BUILD_INFO: Metric = Metric {
    name: "backplane_build_info",
    kind: Kind::Gauge,
    description: "Always 1. The labels have the version of the host and of its extension ABI.",
    labels: &["version", "abi"],
};

/// Every metric of the host.
pub const ALL: [Metric; 27] = [
    CALLS,
    CALL_FAILURES,
    EXPORT_CALLS,
    EXPORT_CALL_FAILURES,
    CALLS_PENDING,
    HANDLES,
    REQUESTS,
    REQUEST_SECONDS,
    REQUESTS_RUNNING,
    REQUESTS_QUEUED,
    LIMITS_HIT,
    GUEST_CPU_SECONDS,
    INSTANCES,
    INSTANCES_STARTED,
    INSTANCES_ENDED,
    EGRESS_DENIED,
    OUTBOUND_REQUESTS,
    OUTBOUND_CONNECTIONS,
    CONNECTIONS,
    CONNECTIONS_CUT,
    CALLS_BLOCKING,
    THREADS_BLOCKED,
    WATCHDOG_LAG,
    READY,
    ADMIN_REQUESTS,
    START_TIME,
    BUILD_INFO,
];

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../docs/operate.md");

    #[test]
    fn the_page_has_every_metric_with_its_kind_and_labels_and_no_other() {
        let table = PAGE.split_once("\n## Metrics\n").unwrap().1;
        let table = table.split_once("\n## ").unwrap().0;
        let rows = table.lines().filter(|line| line.starts_with("| `backplane_"));
        let name = |row: &str| row.split('`').nth(1).unwrap_or_default().to_owned();
        let mut rows: std::collections::BTreeMap<_, _> =
            rows.map(|row| (name(row), row.to_owned())).collect();
        for metric in ALL {
            let row = rows.remove(metric.name).unwrap_or_default();
            let kind = match metric.kind {
                Kind::Counter => "| counter |",
                Kind::Gauge => "| gauge |",
                Kind::Seconds => "| histogram |",
            };
            assert!(row.contains(kind), "{}: no `{kind}` in `{row}`", metric.name);
            for label in metric.labels {
                let label = format!("`{label}`");
                assert!(row.contains(&label), "{}: no {label} in `{row}`", metric.name);
            }
        }
        assert!(rows.is_empty(), "not of this host: {rows:?}");
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
