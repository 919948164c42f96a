//! `backplane inspect`: what a file is, without running it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use serde::Serialize;

use super::{flags::Global, output, runtime, start, table::table};
use crate::{
    boundary::{exports::ExportedInterface, imports::Import},
    config::{self, Config},
    control,
    engine::EngineKind,
    name::Digest,
    provider::{
        Place,
        metadata::Library,
        resolve::{LinkError, Plan, resolve},
    },
    report::Report,
    workload::{
        Loaded,
        spec::{Link, Spec},
    },
};

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// A component or an extension
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Inspection {
    /// A component.
    Component(Component),
    /// An extension, with what its metadata says.
    Extension(Extension),
}

/// A component, as the host would run it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Whether it needs the component model's async, and so the engine that has it.
    pub concurrent: bool,
    /// Its imports, in their order.
    pub imports: Vec<ImportRow>,
    /// The interfaces and functions that it exports.
    pub exports: Vec<String>,
    /// Which of them a provider calls.
    pub calls: Vec<CallRow>,
    /// What would go wrong that its types do not show.
    pub warnings: Vec<String>,
}

/// An import, and who would serve it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportRow {
    /// The interface or function, as the component names it.
    pub import: String,
    /// Who would serve it.
    #[serde(flatten)]
    pub served: Served,
    /// What to do where nobody would: the line of configuration.
    pub remedy: Option<String>,
}

/// An interface of the component's that a provider calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallRow {
    /// The interface, as the component exports it.
    pub export: String,
    /// Who would call it; none where nobody could.
    pub provider: Option<String>,
    /// Why nobody could: the function and both types, or the line of configuration that chooses.
    pub remedy: Option<String>,
}

/// Who would serve an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "served-by", rename_all = "kebab-case")]
pub enum Served {
    /// The host itself.
    Core,
    /// A provider.
    Provider {
        /// Its name.
        provider: String,
        /// Where it runs.
        place: PlaceRow,
    },
    /// Several could, and no link chooses.
    Ambiguous {
        /// Their names.
        candidates: Vec<String>,
    },
    /// Nobody that is enabled.
    Nobody {
        /// Extensions in the plugins folder that could, if they were enabled.
        candidates: Vec<String>,
        /// Why none of those that have the interface fits: the function, and both types.
        mismatch: Option<String>,
    },
}

/// Where a provider runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PlaceRow {
    /// In the host's process.
    InProcess,
    /// Outside it.
    Network {
        /// What it is reached over.
        transport: String,
        /// Where it is.
        address: String,
        /// How many milliseconds a call of it may take.
        deadline: u64,
    },
}

impl From<Place> for PlaceRow {
    fn from(place: Place) -> Self {
        match place {
            Place::InProcess => Self::InProcess,
            Place::Network { transport, address, deadline } => Self::Network {
                transport: transport.to_owned(),
                address,
                deadline: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
            },
        }
    }
}

/// What an extension's metadata says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of the ABI that it was built for.
    pub abi: String,
    /// What a panic in it does: `unwind` or `abort`.
    pub panic: String,
    /// The smallest glibc that it runs with.
    pub glibc: Option<String>,
    /// The digest of the file, to pin it by.
    pub digest: String,
    /// The interfaces that it provides.
    pub interfaces: Vec<String>,
    /// The interfaces that it calls of a workload.
    pub calls: Vec<String>,
    /// Other names under which it provides them: alias and interface.
    pub aliases: Vec<(String, String)>,
    /// Why this host would refuse it.
    pub refused: Option<String>,
}

impl Inspect {
    pub(super) fn execute(self, global: &Global) -> Result<ExitCode, Report> {
        let config = global.load(Vec::new())?;
        start::log(&config)?;
        let inspection = runtime::block_on(examine(&config, &self.file))?;
        if self.json {
            output::print_json(&inspection)?;
        } else {
            output::print(&text(&inspection))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Finds out what a file is: a component is compiled and its imports resolved against the
/// configuration; of an extension only the metadata is read.
async fn examine(config: &Config, file: &Path) -> Result<Inspection, Report> {
    let bytes = tokio::fs::read(file).await.map_err(|error| {
        Report::bad_input(format_args!("`{}` cannot be read", file.display())).caused_by(error)
    })?;
    if bytes.starts_with(b"\x7fELF") {
        return extension(file, &bytes).map(Inspection::Extension);
    }
    component(config, file).await.map(Inspection::Component)
}

fn extension(file: &Path, bytes: &[u8]) -> Result<Extension, Report> {
    let library = Library::read(bytes).map_err(|refusal| {
        Report::bad_input(format_args!("`{}` is refused", file.display())).caused_by(refusal)
    })?;
    Ok(Extension {
        name: library.metadata.name,
        version: library.metadata.version,
        abi: library.metadata.abi,
        panic: library.metadata.panic,
        glibc: library.glibc,
        digest: Digest::of(bytes).to_string(),
        interfaces: library.offers.iter().map(|offer| offer.interface.to_string()).collect(),
        calls: library.calls.iter().map(|offer| offer.interface.to_string()).collect(),
        aliases: library.metadata.aliases,
        refused: None,
    })
}

async fn component(config: &Config, file: &Path) -> Result<Component, Report> {
    // The settings of the workload that runs this file, if the configuration has one.
    let same = |spec: &&Spec| spec.component.canonicalize().ok() == file.canonicalize().ok();
    let spec = config.workloads.iter().find(same).cloned();
    let host = start::look(config).await?;
    // Or those of the extension that it is, which does not serve itself.
    let extension = config.enabled().find(|(name, extension)| {
        let usual = config.plugins.join(format!("{name}.wasm"));
        let its = extension.file.as_deref().unwrap_or(&usual);
        spec.is_none() && its.canonicalize().ok() == file.canonicalize().ok()
    });
    let providers = match extension {
        Some((name, _)) => &host.providers().without(name),
        None => host.providers(),
    };
    let sandbox = |(_, extension): (_, &config::Extension)| Spec {
        component: file.to_owned(),
        ..extension.sandbox.clone()
    };
    let spec = spec.or_else(|| extension.map(sandbox)).unwrap_or_else(|| Spec::plain(file));
    let loaded = host.load(spec).await.map_err(|error| start::report(config, error))?;
    let own = host.imports(&loaded).map_err(|error| start::report(config, error))?;
    let exports = host.exports(&loaded);
    let links = loaded.spec().links.clone();
    let mut imports = Vec::new();
    for name in loaded.imports() {
        let import = own.iter().find(|import| import.name == name);
        let (served, remedy) = match import {
            None => (Served::Core, None),
            Some(import) => {
                match resolve(vec![import.clone()], &[], providers, &links, host.links()) {
                    Ok(plan) => (served(&plan, &host), None),
                    Err(errors) => unserved(errors),
                }
            }
        };
        imports.push(ImportRow { import: name, served, remedy });
    }
    let component = Component {
        concurrent: loaded.kind() == EngineKind::Concurrent,
        imports,
        exports: loaded.exports(),
        calls: exports.into_iter().filter_map(|export| called(export, &host, &links)).collect(),
        warnings: warnings(&loaded, &own),
    };
    Ok(component)
}

/// Who serves the one import of a plan.
fn served(plan: &Plan, host: &control::Host) -> Served {
    let name = plan.joints().next().map(|(_, name)| name);
    let provider = name.and_then(|name| host.providers().get(name));
    Served::Provider {
        provider: name.map(ToString::to_string).unwrap_or_default(),
        place: provider.map_or(PlaceRow::InProcess, |provider| provider.place().into()),
    }
}

/// Who calls an interface that the component exports; none where nobody knows it.
fn called(export: ExportedInterface, host: &control::Host, links: &[Link]) -> Option<CallRow> {
    let name = export.name.to_string();
    let row = |provider, remedy| CallRow { export: name, provider, remedy };
    match resolve(Vec::new(), &[export], host.providers(), links, host.links()) {
        Ok(plan) => {
            plan.callers().next().map(|(_, provider)| row(Some(provider.to_string()), None))
        }
        Err(errors) => Some(row(None, errors.first().map(LinkError::to_string))),
    }
}

/// Why nobody serves an import.
fn unserved(errors: Vec<LinkError>) -> (Served, Option<String>) {
    let remedy = errors.first().map(LinkError::to_string);
    let served = match errors.into_iter().next() {
        Some(LinkError::Ambiguous { candidates, .. }) => {
            Served::Ambiguous { candidates: candidates.iter().map(ToString::to_string).collect() }
        }
        Some(error @ (LinkError::Mismatch { .. } | LinkError::NoFunction { .. })) => {
            Served::Nobody { candidates: Vec::new(), mismatch: Some(error.to_string()) }
        }
        Some(LinkError::NoProvider { enable, .. }) => {
            Served::Nobody { candidates: enable.into_iter().collect(), mismatch: None }
        }
        Some(_) | None => Served::Nobody { candidates: Vec::new(), mismatch: None },
    };
    (served, remedy)
}

/// What its types do not show: a plain `func` that waits keeps a concurrent instance waiting.
fn warnings(loaded: &Loaded, imports: &[Import]) -> Vec<String> {
    if loaded.kind() != EngineKind::Concurrent {
        return Vec::new();
    }
    imports
        .iter()
        .filter(|import| import.functions.iter().any(|(_, ty)| !ty.is_async))
        .map(|import| {
            format!(
                "`{}` has plain `func`s: while one waits, its whole instance waits",
                import.name
            )
        })
        .collect()
}

fn text(inspection: &Inspection) -> String {
    match inspection {
        Inspection::Component(component) => component.text(),
        Inspection::Extension(extension) => extension.text(),
    }
}

impl Component {
    fn text(&self) -> String {
        let rows = self.imports.iter().map(|row| vec![row.import.clone(), row.served.text()]);
        let mut text = table(&["import", "served by"], rows.collect(), "no imports");
        text.push('\n');
        let caller = |export: &String| {
            let call = self.calls.iter().find(|call| call.export == *export)?;
            Some(call.provider.clone().unwrap_or_else(|| "nobody".to_owned()))
        };
        let exports = self.exports.iter();
        let exports =
            exports.map(|export| vec![export.clone(), caller(export).unwrap_or_default()]);
        text.push_str(&table(&["export", "called by"], exports.collect(), "no exports"));
        let engine = if self.concurrent { "with" } else { "without" };
        text.push_str(&format!("\nruns in the engine {engine} component-model async\n"));
        for row in &self.imports {
            if let Some(remedy) = &row.remedy {
                text.push_str(&format!("help: {}: {remedy}\n", row.import));
            }
        }
        for call in &self.calls {
            if let Some(remedy) = &call.remedy {
                text.push_str(&format!("help: {}: {remedy}\n", call.export));
            }
        }
        for warning in &self.warnings {
            text.push_str(&format!("warning: {warning}\n"));
        }
        text
    }
}

impl Served {
    fn text(&self) -> String {
        match self {
            Self::Core => "the host".to_owned(),
            Self::Provider { provider, place: PlaceRow::InProcess } => {
                format!("in process: {provider}")
            }
            Self::Provider { provider, place: PlaceRow::Network { address, deadline, .. } } => {
                let deadline = Duration::from_millis(*deadline);
                format!("over the network: {provider}, {address}, deadline {deadline:?}")
            }
            Self::Ambiguous { candidates } => format!("one of {}", candidates.join(", ")),
            Self::Nobody { candidates, mismatch } => match (candidates.as_slice(), mismatch) {
                ([], None) => "nobody".to_owned(),
                ([], Some(mismatch)) => format!("nobody: {mismatch}"),
                (names, _) => format!("nobody; not enabled: {}", names.join(", ")),
            },
        }
    }
}

impl Extension {
    fn text(&self) -> String {
        let mut rows = vec![
            ("name", self.name.clone()),
            ("version", self.version.clone()),
            ("abi", self.abi.clone()),
            ("panic", self.panic.clone()),
        ];
        rows.extend(self.glibc.clone().map(|glibc| ("glibc", format!("{glibc} or later"))));
        rows.push(("digest", self.digest.clone()));
        rows.push(("interfaces", self.interfaces.join("\n")));
        if !self.calls.is_empty() {
            rows.push(("calls", self.calls.join("\n")));
        }
        let aliases = self.aliases.iter().map(|(alias, of)| ("alias", format!("{alias} of {of}")));
        rows.extend(aliases);
        rows.extend(self.refused.clone().map(|reason| ("refused", reason)));
        let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
        table(&["extension", ""], rows.collect(), "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component() -> Component {
        let import = |import: &str, served, remedy: Option<&str>| ImportRow {
            import: import.to_owned(),
            served,
            remedy: remedy.map(str::to_owned),
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Component {
            concurrent: false,
            imports: vec![
                import("wasi:io/streams@0.2.6", Served::Core, None),
                import(
                    "acme:cache/store@1.0.0",
                    Served::Provider { provider: "cache".into(), place: PlaceRow::InProcess },
                    None,
                ),
                import(
                    "acme:mail/send",
                    Served::Nobody { candidates: names(&["mail"]), mismatch: None },
                    Some("add \"mail\" to `enable`"),
                ),
                import("acme:log/sink", Served::Ambiguous { candidates: names(&["a", "b"]) }, None),
            ],
            exports: names(&["wasi:http/incoming-handler@0.2.6", "acme:mail/inbox"]),
            calls: vec![CallRow {
                export: "acme:mail/inbox".to_owned(),
                provider: Some("mail".to_owned()),
                remedy: None,
            }],
            warnings: names(&["it waits"]),
        }
    }

    #[test]
    fn a_component_is_shown_with_who_serves_each_import_and_what_to_do() {
        let text = text(&Inspection::Component(component()));
        let squeezed: Vec<String> =
            text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            squeezed,
            [
                "IMPORT SERVED BY",
                "wasi:io/streams@0.2.6 the host",
                "acme:cache/store@1.0.0 in process: cache",
                "acme:mail/send nobody; not enabled: mail",
                "acme:log/sink one of a, b",
                "",
                "EXPORT CALLED BY",
                "wasi:http/incoming-handler@0.2.6",
                "acme:mail/inbox mail",
                "",
                "runs in the engine without component-model async",
                "help: acme:mail/send: add \"mail\" to `enable`",
                "warning: it waits",
            ]
        );
    }

    #[test]
    fn json_says_which_kind_the_file_is_and_who_serves_each_import() {
        let json = serde_json::to_value(Inspection::Component(component())).unwrap();
        assert_eq!(json["kind"], "component");
        assert_eq!(json["imports"][0]["served-by"], "core");
        assert_eq!(json["imports"][1]["provider"], "cache");
        assert_eq!(json["imports"][2]["candidates"][0], "mail");
    }
}
