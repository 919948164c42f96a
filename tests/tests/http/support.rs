//! A server in this process, with components that `cargo xtask test` has built.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use backplane::{
    engine::{self, Engines},
    http::{Drained, Router, Routes, Server, Serving, Settings, Tls},
    workload::{
        Loaded, Places, PrepareError, Workload,
        spec::{Limits, Network, Route, Spec},
    },
};
pub(crate) use backplane_tests::component;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

/// A workload of a guest, reached at `/` on every host.
pub(crate) fn spec(guest: &str) -> Spec {
    Spec {
        name: guest.parse().unwrap(),
        component: component(guest),
        http: Some(Route::default()),
        arguments: Vec::new(),
        environment: Default::default(),
        preopens: Vec::new(),
        network: Network::default(),
        config: Default::default(),
        links: Vec::new(),
        limits: Limits::default(),
        instances: Default::default(),
        inherit_stdio: false,
    }
}

/// Engines with room for some instances, which compile a guest once for all tests and runs.
pub(crate) fn engines_for(instances: u32) -> Engines {
    crate::observed::keep_callsites_enabled();
    let cache = Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    Engines::new(&engine::Settings { cache, instances }).unwrap()
}

pub(crate) fn engines() -> Engines {
    engines_for(20)
}

pub(crate) async fn prepare(engines: &Engines, spec: Spec) -> Result<Arc<Workload>, PrepareError> {
    Workload::prepare(engines, spec, |_, _| Ok(())).await.map(Arc::new)
}

/// How a server serves.
pub(crate) struct Options {
    pub(crate) drain: Duration,
    pub(crate) settings: Settings,
    pub(crate) tls: Option<Tls>,
}

impl Default for Options {
    fn default() -> Self {
        Self { drain: Duration::from_secs(10), settings: Settings::default(), tls: None }
    }
}

/// A server that runs until it is stopped or dropped.
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    pub(crate) workloads: Vec<Arc<Workload>>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Drained>,
    client: reqwest::Client,
}

impl Host {
    pub(crate) async fn start(specs: impl IntoIterator<Item = Spec>) -> Self {
        Self::start_with(&engines(), specs, Duration::from_secs(10)).await
    }

    pub(crate) async fn start_with(
        engines: &Engines,
        specs: impl IntoIterator<Item = Spec>,
        drain: Duration,
    ) -> Self {
        Self::start_as(engines, specs, Options { drain, ..Options::default() }).await
    }

    /// A server with other limits than by default.
    pub(crate) async fn limited(
        specs: impl IntoIterator<Item = Spec>,
        limit: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut options = Options::default();
        limit(&mut options.settings);
        Self::start_as(&engines(), specs, options).await
    }

    pub(crate) async fn start_as(
        engines: &Engines,
        specs: impl IntoIterator<Item = Spec>,
        options: Options,
    ) -> Self {
        let places = Places::new(engines);
        let mut workloads = Vec::new();
        for spec in specs {
            let loaded = Loaded::load(engines, spec).await.unwrap().with_places(places.clone());
            let linker = loaded.linker().unwrap();
            workloads.push(Arc::new(loaded.finish(&linker, Vec::new()).unwrap()));
        }
        Self::serve(workloads, options).await
    }

    /// A server of workloads that are ready.
    pub(crate) async fn serve(workloads: Vec<Arc<Workload>>, options: Options) -> Self {
        let router = Router::new(workloads.iter().cloned()).unwrap();
        let mut server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        if let Some(tls) = options.tls {
            server = server.with_tls(tls);
        }
        let serving = Serving::new(Routes::new(router), options.settings);
        let address = server.address();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.serve(serving, stopped, options.drain));
        // A pool would hide when connections are closed.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { address, workloads, stop: Some(stop), served, client }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().unwrap(), self.url(path))
    }

    /// Status and text of a `GET`.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let response = self.request("GET", path).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// A connection that has sent these bytes.
    pub(crate) async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// What a client sees that sends these bytes and reads to the end.
    pub(crate) async fn raw(&self, request: &str) -> String {
        let mut stream = self.send(request).await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Asks the server to stop, without waiting for it.
    pub(crate) fn ask_to_stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn served(self) -> Drained {
        self.served.await.unwrap()
    }

    /// Ends the workloads, as the host does behind its servers.
    pub(crate) async fn end(&self) {
        for workload in &self.workloads {
            workload.end().await;
        }
    }

    /// Waits until no request runs.
    pub(crate) async fn idle(&self) {
        for workload in &self.workloads {
            workload.finished().await;
        }
    }
}

/// Fails the test rather than hanging it.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    backplane_tests::within("the test", future).await
}
