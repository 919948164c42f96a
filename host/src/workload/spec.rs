//! What a workload is to be: the parsed form of its configuration, whoever sends it.

use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf, time::Duration};

use super::egress::{HttpTarget, ListenTarget, NamePattern, SocketTarget};
use crate::{
    engine::TABLE_ELEMENTS,
    name::{InterfaceName, ProviderName, WorkloadName},
};

/// A workload to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Its name, unique on the host.
    pub name: WorkloadName,
    /// The file of its component.
    pub component: PathBuf,
    /// Which HTTP requests it answers; none if it is not reached over HTTP.
    pub http: Option<Route>,
    /// Arguments of a `wasi:cli/run` command, without the program's name.
    pub arguments: Vec<String>,
    /// The environment variables that it sees.
    pub environment: BTreeMap<String, String>,
    /// The folders that it sees.
    pub preopens: Vec<Preopen>,
    /// What it may reach over the network.
    pub network: Network,
    /// What `wasi:config/store` answers.
    pub config: BTreeMap<String, String>,
    /// Which provider serves which import, and how.
    pub links: Vec<Link>,
    /// What it may use.
    pub limits: Limits,
    /// How long its instances live.
    pub instances: Instances,
    /// Whether it inherits the host's standard streams (`backplane run`); else they go to the log.
    pub inherit_stdio: bool,
}

impl Spec {
    /// A workload of `component` that is granted nothing, for looking at it.
    pub fn plain(component: &std::path::Path) -> Self {
        Self {
            name: WorkloadName::unnamed(),
            component: component.to_owned(),
            http: None,
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            preopens: Vec::new(),
            network: Network::default(),
            config: BTreeMap::new(),
            links: Vec::new(),
            limits: Limits::default(),
            instances: Instances::default(),
            inherit_stdio: false,
        }
    }
}

/// Which HTTP requests a workload answers. By default every one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Host names, lower case, without port, and `*.domain` for every name below a domain; empty for
    /// every host.
    pub hosts: Vec<String>,
    /// The path prefix, beginning with `/`; a request matches at a whole segment.
    pub path: String,
    /// Whether the guest sees the path without the prefix.
    pub strip: bool,
}

impl Default for Route {
    fn default() -> Self {
        Self { hosts: Vec::new(), path: "/".to_owned(), strip: false }
    }
}

/// A folder of the host that a workload sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preopen {
    /// The folder.
    pub host: PathBuf,
    /// Its path as the guest sees it.
    pub guest: String,
    /// Whether the guest may write.
    pub writable: bool,
}

/// What a workload may reach over the network; nothing by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// Where outbound requests may go.
    pub http: Vec<HttpTarget>,
    /// Where sockets may connect or send to.
    pub sockets: Vec<SocketTarget>,
    /// Where sockets may listen.
    pub listen: Vec<ListenTarget>,
    /// Which host names may be looked up.
    pub name_lookup: Vec<NamePattern>,
    /// How long outbound requests may take, and how many there may be.
    pub outbound: Outbound,
}

/// How long outbound requests may take, and how many there may be. A guest may ask for shorter times,
/// not for longer ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// Time for a connection: for a free one, the look-up of the name, TCP and TLS.
    pub connect_timeout: Duration,
    /// Time from when the last part of a request was sent to the head of its response.
    pub first_byte_timeout: Duration,
    /// Time between two parts of a response's body, while the guest waits for them.
    pub between_bytes_timeout: Duration,
    /// Time that a connection is kept that nobody uses.
    pub idle_timeout: Duration,
    /// Bytes of a response's head.
    pub response_head: usize,
    /// Connections of a workload at once.
    pub connections: usize,
    /// Requests of a workload at once.
    pub requests: usize,
}

impl Default for Outbound {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(60),
            between_bytes_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(30),
            response_head: 64 << 10,
            connections: 64,
            requests: 256,
        }
    }
}

/// Joins a workload's import to a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// The interface, or every interface of a package where `interface` is absent.
    pub target: LinkTarget,
    /// The provider.
    pub provider: ProviderName,
    /// The binding's config, a JSON object for the provider to read.
    pub config: serde_json::Value,
}

/// Which imports a link is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkTarget {
    /// Every interface of the package `ns:package`, in every version.
    Package(String),
    /// One interface; without a version, in every version.
    Interface(InterfaceName),
    /// A named import, by its name.
    Named(String),
}

/// What a workload may use. Every limit is on by default; `docs/limits.md` has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory of one instance.
    pub memory: usize,
    /// Elements of tables of one instance, all its tables together.
    pub table_elements: usize,
    /// Core instances that one instance of the component is made of.
    pub instances: usize,
    /// Tables of one instance.
    pub tables: usize,
    /// Linear memories of one instance.
    pub memories: usize,
    /// CPU time of one request or command, counted while the guest is polled.
    pub cpu: Option<Duration>,
    /// Time from a request's start to the end of its response; none for commands.
    pub deadline: Option<Duration>,
    /// Bytes of a request's body.
    pub request_body: u64,
    /// Requests that run at once; more wait.
    pub concurrency: usize,
    /// Requests that wait; more are answered 503.
    pub queue: usize,
    /// How long one may wait; then it is answered 503.
    pub queue_wait: Duration,
    /// Bytes that a single host call may copy out of the guest.
    pub hostcall: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 128 << 20,
            table_elements: TABLE_ELEMENTS,
            instances: 128,
            tables: 64,
            memories: 32,
            cpu: Some(Duration::from_secs(5)),
            deadline: Some(Duration::from_secs(30)),
            request_body: 64 << 20,
            concurrency: 256,
            queue: 1024,
            queue_wait: Duration::from_millis(500),
            hostcall: 128 << 20,
        }
    }
}

/// How long the instances of a workload live that answer requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instances {
    /// Requests that an instance answers before it goes. By default one for `wasi:http` 0.2, and
    /// [`Self::REQUESTS_0_3`] for 0.3.
    pub requests: Option<NonZeroUsize>,
    /// Requests that an instance answers at the same time, for 0.3. By default [`Self::CONCURRENT`], or
    /// one where the component imports a plain `func` of a provider's.
    pub concurrent: Option<NonZeroUsize>,
    /// How long an instance stays that has no request; for ever without this.
    pub idle: Option<Duration>,
    /// Instances at once; as many as requests need without this. For extensions.
    pub most: Option<NonZeroUsize>,
}

impl Instances {
    /// Requests of an instance that answers `wasi:http` 0.2, by default.
    pub const REQUESTS_0_2: usize = 1;
    /// Requests of an instance that answers `wasi:http` 0.3, by default: as `wasmtime serve` does.
    pub const REQUESTS_0_3: usize = 128;
    /// Requests at the same time, by default: as `wasmtime serve` does.
    pub const CONCURRENT: usize = 16;
}

impl Default for Instances {
    fn default() -> Self {
        Self { requests: None, concurrent: None, idle: Some(Duration::from_secs(10)), most: None }
    }
}
