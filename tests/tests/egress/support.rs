//! A workload in this process, the names that it sees, and what its operator sees.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use backplane::{
    engine::{Engines, Settings},
    workload::{
        Ended, Loaded, Workload,
        egress::{Egress, Resolver, Resolving},
        spec::{Network, Route, Spec},
    },
};
use backplane_tests::component;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// Fails the test rather than hanging it.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    backplane_tests::within("the test", future).await
}

/// A workload of a guest that is granted nothing; called `shop`.
pub(crate) fn spec(guest: &str) -> Spec {
    Spec {
        name: "shop".parse().unwrap(),
        http: Some(Route::default()),
        ..Spec::plain(&component(guest))
    }
}

/// The grants of outbound requests to these targets.
pub(crate) fn http(targets: &[&str]) -> Network {
    Network {
        http: targets.iter().map(|target| target.parse().unwrap()).collect(),
        ..Network::default()
    }
}

pub(crate) fn engines() -> Engines {
    keep_callsites_enabled();
    let cache = Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    Engines::new(&Settings { cache, instances: 20 }).unwrap()
}

/// A workload that answers when it is asked.
#[derive(Clone)]
pub(crate) struct Host(pub(crate) Arc<Workload>);

impl Host {
    pub(crate) async fn start(spec: Spec) -> Self {
        Self::with(spec, Egress::default()).await
    }

    pub(crate) async fn with(spec: Spec, egress: Egress) -> Self {
        let loaded = Loaded::load(&engines(), spec).await.unwrap().with_egress(egress);
        let linker = loaded.linker().unwrap();
        Self(Arc::new(loaded.finish(&linker, Vec::new()).unwrap()))
    }

    /// A workload of the guest `outbound` with these grants, whose names are those of `dns`.
    pub(crate) async fn outbound(network: Network, dns: &Dns) -> Self {
        let spec = Spec { network, ..spec("outbound") };
        Self::with(spec, Egress::new(dns.clone(), None).unwrap()).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<http::Response<backplane::workload::ResponseBody>, Ended> {
        let uri = format!("http://shop{path}");
        let request = http::Request::builder().method(method).uri(uri);
        self.0.handle(request.body(Full::new(body.into())).unwrap()).await
    }

    /// Status and text of a request.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> (u16, String) {
        let answer = async {
            let (parts, body) = self.send(method, path, body).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            (parts.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
        };
        within(answer).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, "").await
    }

    /// What a request to a URL comes to.
    pub(crate) async fn fetch(&self, url: &str) -> (u16, String) {
        self.get(&format!("/?url={url}")).await
    }

    /// Status and text of a request to a URL that is answered.
    #[track_caller]
    pub(crate) fn fetched(&self, url: &str) -> impl Future<Output = String> + use<> {
        let (host, url) = (self.clone(), url.to_owned());
        async move {
            let (status, text) = host.fetch(&url).await;
            assert_eq!(status, 200, "{url}: {text}");
            text.strip_prefix("200\n").unwrap_or_else(|| panic!("{url}: {text}")).to_owned()
        }
    }
}

/// Names and what they stand for. Each look-up takes the next answer; the last one stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dns(Arc<Mutex<HashMap<String, Answers>>>);

#[derive(Debug, Default)]
struct Answers {
    answers: Vec<Vec<IpAddr>>,
    asked: usize,
}

impl Dns {
    pub(crate) fn new(names: &[(&str, &[&str])]) -> Self {
        let dns = Self::default();
        for (name, answers) in names {
            dns.says(name, answers);
        }
        dns
    }

    /// Sets the answers for a name; each is a text of addresses.
    pub(crate) fn says(&self, name: &str, answers: &[&str]) {
        let addresses =
            |text: &&str| text.split_whitespace().map(|address| address.parse().unwrap()).collect();
        let answers = Answers { answers: answers.iter().map(addresses).collect(), asked: 0 };
        self.0.lock().unwrap().insert(name.to_owned(), answers);
    }

    /// How often a name was looked up.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.0.lock().unwrap().get(name).map_or(0, |answers| answers.asked)
    }
}

impl Resolver for Dns {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a> {
        let mut names = self.0.lock().unwrap();
        let answers = names.entry(name.to_owned()).or_default();
        let at = answers.asked.min(answers.answers.len().saturating_sub(1));
        answers.asked += 1;
        let answer = answers.answers.get(at).cloned();
        Box::pin(async move { answer.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)) })
    }
}

/// What an operator sees, on this thread, which runs the whole of its test.
pub(crate) struct Operator {
    log: Log,
    metrics: PrometheusHandle,
    _subscriber: DefaultGuard,
}

impl Operator {
    /// Runs a test under the eyes of an operator.
    pub(crate) fn watch<T>(test: impl AsyncFnOnce(&Self) -> T) -> T {
        keep_callsites_enabled();
        let log = Log::default();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
        let recorder = PrometheusBuilder::new().build_recorder();
        let operator = Self {
            log,
            metrics: recorder.handle(),
            _subscriber: tracing::subscriber::set_default(subscriber),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        metrics::with_local_recorder(&recorder, || runtime.block_on(test(&operator)))
    }

    /// The lines of the log since the last call that are about traffic.
    pub(crate) fn new_lines(&self) -> Vec<String> {
        let text = std::mem::take(&mut *self.log.0.lock().unwrap());
        let text = String::from_utf8(text).unwrap();
        text.lines().filter(|line| line.contains(" egress: ")).map(str::to_owned).collect()
    }

    /// The value of a counter or gauge.
    pub(crate) fn count(&self, series: &str) -> u64 {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    pub(crate) fn denied(&self, kind: &str) -> u64 {
        let labels = format!("workload=\"shop\",kind=\"{kind}\"");
        self.count(&format!("backplane_egress_denied_total{{{labels}}}"))
    }

    pub(crate) fn outcome(&self, outcome: &str) -> u64 {
        let labels = format!("workload=\"shop\",outcome=\"{outcome}\"");
        self.count(&format!("backplane_outbound_requests_total{{{labels}}}"))
    }

    pub(crate) fn connections(&self) -> u64 {
        self.count("backplane_outbound_connections{workload=\"shop\"}")
    }
}

/// A subscriber for the whole process, whose output goes nowhere. Whether a line is enabled is kept for
/// the process: without this, a thread that logs to nobody can switch off what another captures.
fn keep_callsites_enabled() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let nowhere = tracing_subscriber::fmt().with_writer(io::sink).finish();
        tracing::subscriber::set_global_default(nowhere).unwrap();
    });
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
