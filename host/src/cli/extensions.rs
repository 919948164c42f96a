//! `backplane extensions`: the extensions that were found, and what became of each.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

use clap::Args;
use serde::Serialize;

use super::{flags::Global, output, start, table::table};
use crate::{
    config::{self, Config},
    provider::{
        folder::{self, Found},
        metadata::{Kind, Refusal},
    },
    report::Report,
};

#[derive(Debug, Args)]
pub(super) struct Extensions {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An extension that was found in the plugins folder, or that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExtensionRow {
    /// Its name, from its metadata, else from the configuration or its file.
    pub name: String,
    /// Its version; none if it could not be read.
    pub version: Option<String>,
    /// What becomes of it.
    #[serde(flatten)]
    pub status: Status,
    /// The interfaces that it provides.
    pub interfaces: Vec<String>,
    /// The digest of its file, to pin it by; none without a file.
    pub digest: Option<String>,
    /// Its file; none if the configuration names an extension that was not found.
    pub path: Option<PathBuf>,
}

/// What becomes of an extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Status {
    /// The configuration names it, and it can be loaded.
    Enabled,
    /// It can be loaded, and the configuration does not say so.
    Available,
    /// It cannot be loaded.
    Refused {
        /// What it has, and what the host needs.
        reason: String,
        /// How to mend it.
        remedy: Option<String>,
    },
}

impl Extensions {
    pub(super) fn execute(self, global: &Global) -> Result<ExitCode, Report> {
        let config = global.load(Vec::new())?;
        start::log(&config)?;
        let rows = survey(&config)?;
        if self.json {
            output::print_json(&rows)?;
        } else {
            let empty = format!("no extensions in {}", config.plugins.display());
            output::print(&text(&rows, &empty))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text(rows: &[ExtensionRow], empty: &str) -> String {
    let lines = rows.iter().map(|row| {
        vec![
            row.name.clone(),
            row.version.clone().unwrap_or_default(),
            row.status.word().to_owned(),
            row.interfaces.join("\n"),
            row.digest.clone().unwrap_or_default(),
        ]
    });
    let header = ["name", "version", "status", "interfaces", "digest"];
    let mut text = table(&header, lines.collect(), empty);
    for row in rows {
        if let Status::Refused { reason, remedy } = &row.status {
            let file =
                row.path.as_ref().map_or_else(|| row.name.clone(), |p| p.display().to_string());
            text.push_str(&format!("\n{file} is refused: {reason}\n"));
            if let Some(remedy) = remedy {
                text.push_str(&format!("  help: {remedy}\n"));
            }
        }
    }
    text
}

impl Status {
    fn word(&self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Available => "available",
            Self::Refused { .. } => "refused",
        }
    }
}

/// Looks at every file of the plugins folder and every extension of the configuration, without running
/// any of their code.
fn survey(config: &Config) -> Result<Vec<ExtensionRow>, Report> {
    let found = folder::scan(&config.plugins)
        .map_err(|error| Report::bad_input("the plugins folder is not used").caused_by(error))?;
    let mut rows = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, extension) in config.extensions.iter().filter(|(_, e)| e.enabled) {
        let file = match &extension.file {
            Some(file) => Some(folder::found(file.clone())),
            None => found
                .iter()
                .find(|found| name_of(found) == name.as_str())
                .map(|found| folder::found(found.file.clone())),
        };
        let Some(file) = file else {
            let reason = format!("no library of that name lies in {}", config.plugins.display());
            let remedy = format!("build it: `cargo xtask build-extension {name}`");
            rows.push(ExtensionRow {
                name: name.to_string(),
                version: None,
                status: Status::Refused { reason, remedy: Some(remedy) },
                interfaces: Vec::new(),
                digest: None,
                path: None,
            });
            continue;
        };
        seen.insert(file.file.clone());
        let mut row = row(&file, Status::Enabled);
        row.name = name.to_string();
        // As the host would when it starts.
        if let Some(reason) = refusal(&file, extension) {
            row.status = Status::Refused { reason, remedy: None };
        }
        rows.push(row);
    }
    rows.extend(
        found.iter().filter(|f| !seen.contains(&f.file)).map(|f| row(f, Status::Available)),
    );
    Ok(rows)
}

/// Why the host would not load a file that the configuration enables, whatever is in it: who may
/// write to its folder, or its pin.
fn refusal(found: &Found, extension: &config::Extension) -> Option<String> {
    let folder = found.file.parent().filter(|_| extension.file.is_some());
    if let Some(Err(error)) = folder.map(folder::check) {
        return Some(error.to_string());
    }
    let is_native = found.library.as_ref().is_ok_and(|library| library.kind == Kind::Native);
    if let (true, Some(key)) = (is_native, extension.sandbox_key) {
        return Some(Refusal::NotSandboxed(key).to_string());
    }
    let (pinned, found) = extension.digest.zip(found.digest)?;
    (pinned != found).then(|| Refusal::Changed { found, pinned }.to_string())
}

fn row(found: &Found, status: Status) -> ExtensionRow {
    let library = found.library.as_ref();
    ExtensionRow {
        name: name_of(found),
        version: library.ok().map(|library| library.metadata.version.clone()),
        status: match library {
            Ok(_) => status,
            Err(refusal) => Status::Refused { reason: refusal.to_string(), remedy: None },
        },
        interfaces: library.map_or_else(
            |_| Vec::new(),
            |library| library.offers.iter().map(|offer| offer.interface.to_string()).collect(),
        ),
        digest: found.digest.map(|digest| digest.to_string()),
        path: Some(found.file.clone()),
    }
}

/// The name from the metadata, else the file's.
fn name_of(found: &Found) -> String {
    match &found.library {
        Ok(library) => library.metadata.name.clone(),
        Err(_) => found.file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<ExtensionRow> {
        let refused = Status::Refused {
            reason: "it was built with panic = \"abort\"; expected \"unwind\"".to_owned(),
            remedy: Some("build it with `cargo xtask build-extension`".to_owned()),
        };
        vec![
            ExtensionRow {
                name: "cache".to_owned(),
                version: Some("1.2.0".to_owned()),
                status: Status::Enabled,
                interfaces: vec![
                    "acme:cache/store@1.0.0".to_owned(),
                    "acme:cache/batch@1.0.0".to_owned(),
                ],
                digest: Some("sha256:00".to_owned()),
                path: Some("plugins/libcache.so".into()),
            },
            ExtensionRow {
                name: "libx".to_owned(),
                version: None,
                status: refused,
                interfaces: Vec::new(),
                digest: None,
                path: Some("plugins/libx.so".into()),
            },
        ]
    }

    #[test]
    fn the_table_has_a_line_for_each_and_says_why_one_is_refused() {
        let text = text(&rows(), "none");
        let squeezed: Vec<String> =
            text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            squeezed,
            [
                "NAME VERSION STATUS INTERFACES DIGEST",
                "cache 1.2.0 enabled acme:cache/store@1.0.0 sha256:00",
                "acme:cache/batch@1.0.0",
                "libx refused",
                "",
                "plugins/libx.so is refused: it was built with panic = \"abort\"; expected \"unwind\"",
                "help: build it with `cargo xtask build-extension`",
            ]
        );
        assert_eq!(super::text(&[], "none"), "none\n");
    }

    #[test]
    fn json_has_the_status_beside_the_name() {
        let json = serde_json::to_value(rows()).unwrap();
        assert_eq!(json[0]["status"], "enabled");
        assert_eq!(json[1]["status"], "refused");
        assert!(json[1]["reason"].as_str().unwrap().contains("unwind"));
        assert_eq!(json[1]["version"], serde_json::Value::Null);
    }
}
