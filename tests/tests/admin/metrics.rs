//! `/metrics`, read as Prometheus reads it.

use std::collections::BTreeMap;

use backplane::metric::{self, Kind};

use crate::support::{Admin, lab};

/// The text format of Prometheus, parsed: each family with its type, and its samples.
#[derive(Debug, Default)]
struct Exposition {
    help: BTreeMap<String, String>,
    types: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Exposition {
    /// As <https://prometheus.io/docs/instrumenting/exposition_formats/> has it.
    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut all = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert_eq!(all.help.insert(name.into(), help.into()), None, "twice: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(all.types.insert(name.into(), kind.into()), None, "twice: {line}");
            } else {
                all.samples.push(Sample::parse(line));
            }
        }
        all
    }

    /// The family that a sample is of.
    fn family(&self, sample: &Sample) -> &str {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            let family = sample.name.strip_suffix(suffix)?;
            self.types.get_key_value(family).filter(|(_, kind)| *kind == "histogram")
        });
        match histogram.or_else(|| self.types.get_key_value(&sample.name)) {
            Some((family, _)) => family,
            None => panic!("{} has no type", sample.name),
        }
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
        let (name, mut rest) = match series.split_once('{') {
            Some((name, rest)) => (name, rest.strip_suffix('}').unwrap()),
            None => (series, ""),
        };
        let is_name = |text: &str| {
            text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && !text.starts_with(|c: char| c.is_ascii_digit())
                && !text.is_empty()
        };
        assert!(is_name(name), "{line}");
        let mut labels = BTreeMap::new();
        while !rest.is_empty() {
            let (label, after) = rest.split_once("=\"").unwrap();
            // No value of a test has a quote in it.
            let (value, after) = after.split_once('"').unwrap();
            assert!(is_name(label), "{line}");
            assert_eq!(labels.insert(label.to_owned(), value.to_owned()), None, "twice: {line}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        Self { name: name.to_owned(), labels, value }
    }
}

#[tokio::test]
async fn every_sample_has_its_help_and_type_and_the_labels_that_the_host_says() {
    let lab = lab("admin.watchdog = \"100ms\"", "");
    let mut host = lab.start(["host"]).await;
    let admin = Admin::of(&mut host).await;
    admin.until("/readyz", 200, "ready").await;
    for path in ["/", "/panic", "/sleep?ms=1", "/block?ms=1000"] {
        host.get(path).await;
    }
    let text = admin.until("/metrics", 200, "backplane_calls_blocking_total{").await;
    let all = Exposition::parse(&text);
    for sample in &all.samples {
        let family = all.family(sample);
        assert!(all.help.contains_key(family), "{family} has no help");
        let metric = metric::ALL.into_iter().find(|metric| metric.name == family);
        let metric = metric.unwrap_or_else(|| panic!("{family} is not a metric of the host"));
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Seconds => "histogram",
        };
        assert_eq!(all.types[family], kind, "{family}");
        let mut labels: Vec<_> =
            sample.labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
        let mut said = metric.labels.to_vec();
        if metric.name == metric::CALL_FAILURES.name {
            assert!(labels.contains(&"kind"));
        }
        labels.sort_unstable();
        said.sort_unstable();
        assert_eq!(labels, said, "{family}");
        assert!(sample.value >= 0.0, "{sample:?}");
    }
    for name in [
        metric::CALLS.name,
        metric::CALL_FAILURES.name,
        metric::CALLS_BLOCKING.name,
        metric::REQUESTS.name,
        metric::CONNECTIONS.name,
        metric::WATCHDOG_LAG.name,
        metric::START_TIME.name,
        metric::BUILD_INFO.name,
        metric::ADMIN_REQUESTS.name,
        "backplane_request_duration_seconds_count",
    ] {
        assert!(all.samples.iter().any(|sample| sample.name == name), "no {name} in {text}");
    }
    is_cumulative(&all, "backplane_request_duration_seconds", 4.0);
    // Not stopped in the usual way, which takes any panic on standard error for one of the host's.
    drop(host);
}

/// The buckets of a histogram go up, and the last is the count.
fn is_cumulative(all: &Exposition, name: &str, count: f64) {
    let of = |suffix| {
        let name = format!("{name}{suffix}");
        all.samples.iter().filter(move |sample| sample.name == name)
    };
    let buckets: Vec<_> = of("_bucket").map(|sample| sample.value).collect();
    assert!(buckets.is_sorted() && buckets.len() > 10, "{buckets:?}");
    assert_eq!(of("_bucket").next_back().unwrap().labels["le"], "+Inf");
    assert_eq!(buckets.last(), Some(&count));
    assert_eq!(of("_count").map(|sample| sample.value).collect::<Vec<_>>(), [count]);
    assert_eq!(of("_sum").count(), 1);
}

#[tokio::test]
async fn what_is_asked_on_the_admin_address_is_counted() {
    let lab = lab("", "");
    let mut host = lab.start(["host"]).await;
    let admin = Admin::of(&mut host).await;
    assert_eq!(admin.get("/secret-path").await.0, 404);
    let all = Exposition::parse(&admin.get("/metrics").await.1);
    let counted: Vec<_> =
        all.samples.iter().filter(|s| s.name == metric::ADMIN_REQUESTS.name).collect();
    assert_eq!(counted.len(), 1, "{counted:?}");
    assert_eq!(counted[0].labels["path"], "other");
    assert_eq!((counted[0].labels["status"].as_str(), counted[0].value), ("404", 1.0));
    host.stop().await;
}
