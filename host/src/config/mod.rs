//! The configuration: built-in defaults, then a file, then `BACKPLANE_*` variables, then flags.
//!
//! [`Config::load`] merges them with figment, parses every value into its type once, and reports all that
//! is wrong, each fault with the place it came from. Nothing past this module sees a text that still
//! has to be understood. `docs/configure.md` has every key.

#![forbid(unsafe_code)]

#[cfg(test)]
mod docs;
mod file;
mod mask;
mod merge;
mod origin;
mod problem;
mod resolve;
mod servers;
mod serving;
mod setting;
mod show;
#[cfg(test)]
mod tests;
mod toml;
mod value;
mod written;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

pub use file::LogFormat;
pub use merge::{DEFAULT_FILE, Sources};
pub use origin::{KeyPath, Origin, Origins};
pub use setting::Setting;

use crate::{
    name::{Digest, ProviderName},
    provider::remote::ServerConfig,
    report::Report,
    workload::spec::{Limits, Link, Spec},
};

/// The configuration of a host, complete and checked.
///
/// It has no `Debug`, since it holds secrets. To print it there are [`Config::to_toml`] and
/// [`Config::to_json`], which hide them.
pub struct Config {
    /// The folder of everything that the host stores; absolute.
    pub data: PathBuf,
    /// The folder in which extensions are looked for; absolute.
    pub plugins: PathBuf,
    /// HTTP in.
    pub http: Http,
    /// Health and metrics.
    pub admin: Admin,
    /// The host's own log.
    pub log: Log,
    /// What a workload may use that does not say otherwise. Already applied to `workloads`.
    pub limits: Limits,
    /// A file of certificate authorities for outbound requests, besides the system's; absolute.
    pub ca_file: Option<PathBuf>,
    /// How long requests are still taken after SIGTERM or SIGINT, while the host says that it is not
    /// ready.
    pub shutdown_delay: Duration,
    /// How long requests that run may go on after that.
    pub shutdown_deadline: Duration,
    /// How components are compiled and where their instances live.
    pub engine: Engine,
    /// The extensions that are configured or enabled, by name.
    pub extensions: BTreeMap<ProviderName, Extension>,
    /// The servers that workloads may be linked to, in the order of their names.
    pub servers: Vec<ServerConfig>,
    /// The links of workloads that have none of their own for an import.
    pub links: Vec<Link>,
    /// The workloads, in the order of their names.
    pub workloads: Vec<Spec>,
    /// The file that was read, as it was named; none if there was none.
    pub file: Option<PathBuf>,
    /// Where every value came from.
    pub origins: Origins,
    merged: figment::value::Value,
}

/// HTTP in. There is at least one address, of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// The addresses that requests are taken on without TLS.
    pub listen: Vec<SocketAddr>,
    /// Those over TLS, and how it is spoken; none where it is not.
    pub tls: Option<Tls>,
    /// What a client may take.
    pub settings: crate::http::Settings,
}

/// HTTP in, over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The addresses; at least one.
    pub listen: Vec<SocketAddr>,
    /// How it is spoken.
    pub settings: crate::http::TlsSettings,
}

/// Health and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admin {
    /// The address that they are served on, if they are.
    pub listen: Option<SocketAddr>,
    /// How long a call may hold a thread of the host, and how long work may wait for one, before the
    /// host says so; none for ever.
    pub watchdog: Option<Duration>,
}

/// The host's own log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Which lines are written, in the syntax of `tracing_subscriber`'s `EnvFilter`.
    pub filter: String,
    /// How a line is written.
    pub format: LogFormat,
}

/// How components are compiled and where their instances live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Instances that each of the two engines can hold at once, over all workloads.
    pub instances: u32,
    /// Whether compiled components are kept under the data folder.
    pub cache: bool,
}

/// A configured or enabled extension. Like [`Config`] it has no `Debug`.
#[derive(Clone, PartialEq)]
pub struct Extension {
    /// Whether it is loaded.
    pub enabled: bool,
    /// Its file, absolute; else the one in the plugins folder whose metadata has the name.
    pub file: Option<PathBuf>,
    /// The only content that the file may have.
    pub digest: Option<Digest>,
    /// Its own settings, a JSON object.
    pub config: serde_json::Value,
    /// What it is, where it is a component.
    pub sandbox: Spec,
    /// A key that its table has for that alone.
    pub sandbox_key: Option<&'static str>,
}

impl Config {
    /// Reads, merges and checks the configuration. Called once, at the start of each command.
    ///
    /// # Errors
    ///
    /// One report of all that is wrong, with exit code 2.
    pub fn load(sources: &Sources) -> Result<Self, Report> {
        let merged = merge::Merged::read(sources)?;
        let file = problem::read(&merged.value, &merged.origins)?;
        resolve::resolve(file, merged, sources.working_folder.clone())
    }

    /// Where the admin address came from.
    pub fn origin_of_admin(&self) -> Origin {
        self.origins.of(&KeyPath::new(["admin", "listen"]))
    }

    /// The enabled extensions, by name.
    pub fn enabled(&self) -> impl Iterator<Item = (&ProviderName, &Extension)> {
        self.extensions.iter().filter(|(_, extension)| extension.enabled)
    }

    /// The merged configuration as TOML, each line with the place it came from; secrets hidden.
    pub fn to_toml(&self) -> String {
        show::toml(&mask::masked(&KeyPath::default(), &self.merged), &self.origins)
    }

    /// The merged configuration and the origin of each value; secrets hidden.
    pub fn to_json(&self) -> serde_json::Value {
        show::json(
            self.file.as_deref(),
            &mask::masked(&KeyPath::default(), &self.merged),
            &self.origins,
        )
    }

    /// The JSON Schema of the configuration file, for editors.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(file::File).into()
    }
}
