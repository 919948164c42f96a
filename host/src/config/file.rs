//! What the configuration may say: one field a key, in the words and the order of
//! `docs/configure.md`.
//!
//! These types are the file as written. [`super::Config`] is what the host works with.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    value::{Count, List, Text, Typed},
    written::{AdminAddress, Bound, HostName, LogFilter, NameLookup, PathPrefix, Size, Target},
};
use crate::{
    http,
    name::{Digest, InterfaceName, ProviderName, WorkloadName},
    provider::remote::Address,
    workload::{
        egress::{HttpTarget, ListenTarget, SocketTarget},
        spec,
    },
};

/// Free-form settings, for an extension to read.
pub(super) type Settings = BTreeMap<String, serde_json::Value>;

/// The configuration of a host.
#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct File {
    /// The folder of everything that the host stores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<Typed<PathBuf>>,
    /// The folder in which extensions are looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) plugins: Option<Typed<PathBuf>>,
    /// The extensions that are loaded. No other runs any of its code.
    pub(super) enable: List<Typed<ProviderName>>,
    /// HTTP in.
    pub(super) http: Http,
    /// Health and metrics.
    pub(super) admin: Admin,
    /// The host's own log.
    pub(super) log: Log,
    /// What each workload may use, unless it says otherwise itself.
    pub(super) limits: Limits,
    /// Outbound requests of workloads.
    pub(super) outbound: Outbound,
    /// How the host stops.
    pub(super) shutdown: Shutdown,
    /// How components are compiled and where their instances live.
    pub(super) engine: Engine,
    /// The configured extensions, by name.
    pub(super) extensions: BTreeMap<Typed<ProviderName>, Extension>,
    /// The servers, by name.
    pub(super) servers: BTreeMap<Typed<ProviderName>, Server>,
    /// The links of every workload that has none of its own for an import.
    pub(super) links: List<Link>,
    /// The workloads, by name.
    pub(super) workloads: BTreeMap<Typed<WorkloadName>, Workload>,
}

/// HTTP in.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct Http {
    /// The addresses that requests are taken on. Port 0 takes a free port.
    pub(super) listen: List<Typed<SocketAddr>>,
    /// Connections that are open at once; more wait.
    pub(super) connections: Count,
    /// A request's head, in bytes.
    pub(super) head_size: Typed<Size>,
    /// Header fields of a request.
    pub(super) head_fields: Count,
    /// Time from the first byte of a request's head to its last.
    pub(super) head_timeout: Typed<Bound>,
    /// Time that a connection stays open without a request.
    pub(super) idle_timeout: Typed<Bound>,
    /// Time in which a byte of a request's body has to come, where the guest waits for it.
    pub(super) body_timeout: Typed<Bound>,
    /// Time in which the client has to take something of a response.
    pub(super) write_timeout: Typed<Bound>,
    /// What is HTTP/2's own.
    pub(super) http2: Http2,
    /// TLS.
    pub(super) tls: Tls,
}

impl Default for Http {
    fn default() -> Self {
        let settings = http::Settings::default();
        Self {
            listen: List(vec![Typed(SocketAddr::from(([127, 0, 0, 1], 8080)))]),
            connections: Count::saturating(settings.connections),
            head_size: Typed(Size(settings.head_size as u64)),
            head_fields: Count::saturating(settings.head_fields),
            head_timeout: Typed(Bound(settings.head_timeout)),
            idle_timeout: Typed(Bound(settings.idle_timeout)),
            body_timeout: Typed(Bound(settings.body_timeout)),
            write_timeout: Typed(Bound(settings.write_timeout)),
            http2: Http2::default(),
            tls: Tls::default(),
        }
    }
}

/// What is HTTP/2's own.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct Http2 {
    /// Streams that a client may have open at once on a connection.
    pub(super) streams: Count,
    /// Streams that may be reset before they have begun, or for an error, before the connection ends.
    pub(super) resets: Count,
    /// What a client may send ahead of the guest in a stream, in bytes.
    pub(super) stream_window: Typed<Size>,
    /// What a client may send ahead in all streams of a connection, in bytes.
    pub(super) connection_window: Typed<Size>,
    /// How often the client is asked whether it is still there, and how long it has to answer.
    pub(super) ping: Typed<Bound>,
}

impl Default for Http2 {
    fn default() -> Self {
        let settings = http::Http2::default();
        Self {
            streams: Count::saturating(settings.streams as usize),
            resets: Count::saturating(settings.resets),
            stream_window: Typed(Size(settings.stream_window.into())),
            connection_window: Typed(Size(settings.connection_window.into())),
            ping: Typed(Bound(settings.ping)),
        }
    }
}

/// TLS.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct Tls {
    /// The addresses that requests are taken on over TLS. Port 0 takes a free port.
    pub(super) listen: List<Typed<SocketAddr>>,
    /// The oldest version of TLS that is spoken.
    pub(super) min_version: TlsVersion,
    /// Time that a client has to agree on keys.
    pub(super) handshake_timeout: Typed<Bound>,
    /// The certificates.
    pub(super) certificates: List<Certificate>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            listen: List::default(),
            min_version: TlsVersion::Tls12,
            handshake_timeout: Typed(Bound(Some(Duration::from_secs(10)))),
            certificates: List::default(),
        }
    }
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(super) enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

/// A certificate and its key.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a table with `certificate` and `key`"
)]
pub(super) struct Certificate {
    /// The file of the certificate, and of those that it is signed with.
    pub(super) certificate: Typed<PathBuf>,
    /// The file of its private key.
    pub(super) key: Typed<PathBuf>,
}

/// Health and metrics.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct Admin {
    /// The address that they are served on. Port 0 takes a free port.
    pub(super) listen: Typed<AdminAddress>,
    /// How long a call may hold a thread of the host, and how long work may wait for one.
    pub(super) watchdog: Typed<Bound>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: Typed(AdminAddress(Some(SocketAddr::from(([127, 0, 0, 1], 9090))))),
            watchdog: Typed(Bound(Some(Duration::from_secs(10)))),
        }
    }
}

/// The host's own log.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct Log {
    /// Which lines are written.
    pub(super) level: Typed<LogFilter>,
    /// How a line is written.
    pub(super) format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Typed(LogFilter("info".to_owned())), format: LogFormat::Text }
    }
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum LogFormat {
    /// For people; in colour on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// What a workload may use.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct Limits {
    /// Linear memory of one instance, in bytes.
    pub(super) memory: Typed<Size>,
    /// Elements of tables of one instance.
    pub(super) table_elements: Count,
    /// Core instances that one instance is made of.
    pub(super) instances: Count,
    /// Tables of one instance.
    pub(super) tables: Count,
    /// Linear memories of one instance.
    pub(super) memories: Count,
    /// CPU time of one request or command.
    pub(super) cpu: Typed<Bound>,
    /// Time from a request's start to the end of its response.
    pub(super) deadline: Typed<Bound>,
    /// A request's body, in bytes.
    pub(super) request_body: Typed<Size>,
    /// Requests that run at once; more wait.
    pub(super) concurrency: Count,
    /// Requests that wait; more are answered 503.
    pub(super) queue: Count,
    /// How long a request may wait until it is answered 503.
    pub(super) queue_wait: Typed<Duration>,
    /// What a single host call may copy out of the guest, in bytes.
    pub(super) hostcall: Typed<Size>,
}

impl Default for Limits {
    fn default() -> Self {
        let limits = spec::Limits::default();
        Self {
            memory: Typed(Size(limits.memory as u64)),
            table_elements: Count::saturating(limits.table_elements),
            instances: Count::saturating(limits.instances),
            tables: Count::saturating(limits.tables),
            memories: Count::saturating(limits.memories),
            cpu: Typed(Bound(limits.cpu)),
            deadline: Typed(Bound(limits.deadline)),
            request_body: Typed(Size(limits.request_body)),
            concurrency: Count::saturating(limits.concurrency),
            queue: Count::saturating(limits.queue),
            queue_wait: Typed(limits.queue_wait),
            hostcall: Typed(Size(limits.hostcall as u64)),
        }
    }
}

/// Outbound requests of workloads: whom to trust, how long they may take, how many there may be.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct Outbound {
    /// A file of certificate authorities, in PEM, besides those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ca_file: Option<Typed<PathBuf>>,
    /// Time for a connection.
    pub(super) connect_timeout: Typed<Duration>,
    /// Time from the end of a request to the head of its response.
    pub(super) first_byte_timeout: Typed<Duration>,
    /// Time between two parts of a response's body.
    pub(super) between_bytes_timeout: Typed<Duration>,
    /// Time that a connection is kept that nobody uses.
    pub(super) idle_timeout: Typed<Duration>,
    /// A response's head, in bytes.
    pub(super) response_head: Typed<Size>,
    /// Connections of one workload at once.
    pub(super) connections: Count,
    /// Requests of one workload at once.
    pub(super) requests: Count,
}

impl Default for Outbound {
    fn default() -> Self {
        let outbound = spec::Outbound::default();
        let count = |number| {
            Count(u32::try_from(number).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX))
        };
        Self {
            ca_file: None,
            connect_timeout: Typed(outbound.connect_timeout),
            first_byte_timeout: Typed(outbound.first_byte_timeout),
            between_bytes_timeout: Typed(outbound.between_bytes_timeout),
            idle_timeout: Typed(outbound.idle_timeout),
            response_head: Typed(Size(outbound.response_head as u64)),
            connections: count(outbound.connections),
            requests: count(outbound.requests),
        }
    }
}

/// How the host stops.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct Shutdown {
    /// How long requests are still taken after SIGTERM or SIGINT, while the host says that it is not
    /// ready.
    pub(super) delay: Typed<Duration>,
    /// How long requests that run may go on after SIGTERM or SIGINT.
    pub(super) deadline: Typed<Duration>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { delay: Typed(Duration::ZERO), deadline: Typed(Duration::from_secs(30)) }
    }
}

/// How components are compiled and where their instances live.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct Engine {
    /// Instances that each of the two engines can hold at once, over all workloads.
    pub(super) instances: Count,
    /// Whether compiled components are kept under the data folder.
    pub(super) cache: bool,
}

impl Default for Engine {
    fn default() -> Self {
        Self { instances: Count(NonZeroU32::new(1000).unwrap_or(NonZeroU32::MIN)), cache: true }
    }
}

/// A configured extension.
#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct Extension {
    /// Its file. Without it, the file in the plugins folder whose metadata has the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<Typed<PathBuf>>,
    /// The only content that the file may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<Typed<Digest>>,
    /// Its own settings; it says itself which there are.
    pub(super) config: Settings,
    /// The environment variables that a component extension sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) environment: Option<BTreeMap<String, Text>>,
    /// The folders that a component extension sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) preopens: Option<List<Preopen>>,
    /// What a component extension may reach over the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) network: Option<Network>,
    /// Its outbound requests, where they differ from the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outbound: Option<OutboundOverrides>,
    /// The limits of a component extension, where they differ from the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limits: Option<LimitOverrides>,
    /// How many instances a component extension has, and how long they live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instances: Option<ServingInstances>,
    /// The links of a component extension's own imports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) links: Option<List<Link>>,
}

impl Extension {
    /// A key that is there and is for component extensions alone.
    pub(super) fn sandbox_key(&self) -> Option<&'static str> {
        let keys = [
            ("environment", self.environment.is_some()),
            ("preopens", self.preopens.is_some()),
            ("network", self.network.is_some()),
            ("outbound", self.outbound.is_some()),
            ("limits", self.limits.is_some()),
            ("instances", self.instances.is_some()),
            ("links", self.links.is_some()),
        ];
        keys.into_iter().find(|(_, is_there)| *is_there).map(|(key, _)| key)
    }
}

/// How many instances a component extension has, and how long they live.
#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct ServingInstances {
    /// Instances at once; one by default, which all workloads share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) most: Option<Count>,
    /// Calls that an instance answers before it goes; without end by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) calls: Option<Count>,
    /// Calls that an instance answers at the same time, for 0.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) concurrent: Option<Count>,
}

/// A wRPC server: a provider outside the process. The host calls it and never starts it.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a table with `address` and `wit`"
)]
pub(super) struct Server {
    /// Where it is.
    pub(super) address: Typed<Address>,
    /// The WIT of what it serves: a file or a folder.
    pub(super) wit: Typed<PathBuf>,
    /// The interfaces that it serves of it.
    #[serde(default)]
    pub(super) interfaces: List<Typed<InterfaceName>>,
    /// Time for a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) connect_timeout: Option<Typed<Duration>>,
    /// Time from a call's start to its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deadline: Option<Typed<Duration>>,
    /// Calls that run at once; more wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) concurrency: Option<Count>,
    /// Calls that wait; more fail at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) queue: Option<Count>,
    /// An answer, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answer_size: Option<Typed<Size>>,
    /// Whether a connection that ends without an answer is the success of a function without results.
    #[serde(default)]
    pub(super) unconfirmed: bool,
}

/// Joins imports to a provider.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a table with `target` or `named`, and `provider`"
)]
pub(super) struct Link {
    /// The imports, by package or interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<Typed<Target>>,
    /// The import, by its own name; instead of `target`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) named: Option<String>,
    /// The provider that serves them.
    pub(super) provider: Typed<ProviderName>,
    /// The binding's settings; the provider says which there are.
    #[serde(default)]
    pub(super) config: Settings,
}

/// A workload.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a table with at least `component`"
)]
pub(super) struct Workload {
    /// The file of its component.
    pub(super) component: Typed<PathBuf>,
    /// Which HTTP requests it answers. Without this table, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) http: Option<Route>,
    /// Arguments of a command, without the program's name.
    #[serde(default)]
    pub(super) arguments: List<Text>,
    /// The environment variables that it sees.
    #[serde(default)]
    pub(super) environment: BTreeMap<String, Text>,
    /// The folders that it sees.
    #[serde(default)]
    pub(super) preopens: List<Preopen>,
    /// What it may reach over the network.
    #[serde(default)]
    pub(super) network: Network,
    /// Its outbound requests, where they differ from the host's.
    #[serde(default)]
    pub(super) outbound: OutboundOverrides,
    /// What `wasi:config/store` answers.
    #[serde(default)]
    pub(super) config: BTreeMap<String, Text>,
    /// Its limits, where they differ from the host's.
    #[serde(default)]
    pub(super) limits: LimitOverrides,
    /// How long its instances live that answer requests.
    #[serde(default)]
    pub(super) instances: Instances,
    /// Its own links.
    #[serde(default)]
    pub(super) links: List<Link>,
}

/// How long the instances of a workload live that answer requests.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct Instances {
    /// Requests that an instance answers before it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requests: Option<Count>,
    /// Requests that an instance answers at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) concurrent: Option<Count>,
    /// How long an instance stays without a request.
    pub(super) idle: Typed<Bound>,
}

impl Default for Instances {
    fn default() -> Self {
        let instances = spec::Instances::default();
        Self { requests: None, concurrent: None, idle: Typed(Bound(instances.idle)) }
    }
}

/// Which HTTP requests a workload answers.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct Route {
    /// Host names; none for every host.
    pub(super) hosts: List<Typed<HostName>>,
    /// The path prefix.
    pub(super) path: Typed<PathPrefix>,
    /// Whether the guest sees the path without the prefix.
    pub(super) strip: bool,
}

impl Default for Route {
    fn default() -> Self {
        Self { hosts: List::default(), path: Typed(PathPrefix("/".to_owned())), strip: false }
    }
}

/// A folder of the host that a workload sees.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a table with `host` and `guest`"
)]
pub(super) struct Preopen {
    /// The folder.
    pub(super) host: Typed<PathBuf>,
    /// Its path as the guest sees it.
    pub(super) guest: String,
    /// Whether the guest may write.
    #[serde(default)]
    pub(super) write: bool,
}

/// What a workload may reach over the network.
#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct Network {
    /// Where outbound requests may go.
    pub(super) http: List<Typed<HttpTarget>>,
    /// Where sockets may connect or send to.
    pub(super) sockets: List<Typed<SocketTarget>>,
    /// Where sockets may listen.
    pub(super) listen: List<Typed<ListenTarget>>,
    /// Which host names may be looked up.
    pub(super) name_lookup: NameLookup,
}

/// The outbound requests of one workload; what is absent is as in `[outbound]`.
#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct OutboundOverrides {
    /// Time for a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connect_timeout: Option<Typed<Duration>>,
    /// Time from the end of a request to the head of its response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_byte_timeout: Option<Typed<Duration>>,
    /// Time between two parts of a response's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) between_bytes_timeout: Option<Typed<Duration>>,
    /// Time that a connection is kept that nobody uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) idle_timeout: Option<Typed<Duration>>,
    /// A response's head, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_head: Option<Typed<Size>>,
    /// Connections at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connections: Option<Count>,
    /// Requests at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requests: Option<Count>,
}

/// The limits of one workload; what is absent is as in `[limits]`.
#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct LimitOverrides {
    /// Linear memory of one instance, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory: Option<Typed<Size>>,
    /// Elements of tables of one instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) table_elements: Option<Count>,
    /// Core instances that one instance is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instances: Option<Count>,
    /// Tables of one instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tables: Option<Count>,
    /// Linear memories of one instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memories: Option<Count>,
    /// CPU time of one request or command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu: Option<Typed<Bound>>,
    /// Time from a request's start to the end of its response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deadline: Option<Typed<Bound>>,
    /// A request's body, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_body: Option<Typed<Size>>,
    /// Requests that run at once; more wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) concurrency: Option<Count>,
    /// Requests that wait; more are answered 503.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue: Option<Count>,
    /// How long a request may wait until it is answered 503.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue_wait: Option<Typed<Duration>>,
    /// What a single host call may copy out of the guest, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hostcall: Option<Typed<Size>>,
}
