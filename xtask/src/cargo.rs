//! Runs cargo and reads what it built.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{
    say::{self, Heartbeat},
    workspace::{self, Package, Workspace},
};

/// Something that a build made, or found made already.
#[derive(Debug, Deserialize)]
pub(crate) struct Artifact {
    manifest_path: PathBuf,
    pub(crate) target: ArtifactTarget,
    pub(crate) profile: ArtifactProfile,
    filenames: Vec<PathBuf>,
    pub(crate) executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ArtifactTarget {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ArtifactProfile {
    pub(crate) test: bool,
}

/// One line of cargo's JSON messages.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact(Artifact),
    #[serde(other)]
    Other,
}

impl Artifact {
    /// Whether it was made from that package.
    pub(crate) fn is_of(&self, package: &Package) -> bool {
        self.manifest_path == package.manifest_path
    }

    /// Whether it is an integration test.
    pub(crate) fn is_test(&self) -> bool {
        self.profile.test && self.target.kind.iter().any(|kind| kind == "test")
    }

    /// Its file with that extension.
    pub(crate) fn file(&self, extension: &str) -> Option<&PathBuf> {
        self.filenames.iter().find(|file| file.extension().is_some_and(|is| is == extension))
    }
}

/// Has cargo tell what it makes, for [`compile`].
pub(crate) const JSON: &str = "--message-format=json-render-diagnostics";

/// How the names of those variables begin that `cargo run` sets for what it runs.
const TOLD_BY_CARGO_RUN: [&str; 2] = ["CARGO_PKG_", "CARGO_MANIFEST_"];

/// A cargo command in the workspace.
pub(crate) fn command(workspace: &Workspace) -> Command {
    let mut command = Command::new(workspace::cargo());
    command.current_dir(&workspace.root);
    forget_who_runs(&mut command);
    if !say::is_terminal() {
        command.env("CARGO_TERM_QUIET", "true");
    }
    command
}

/// `cargo run` has told this program which package it is. Build scripts that watch these variables
/// (ring's does) would run again, and half of the host would be compiled again, each time that
/// cargo is called from here and then by hand.
pub(crate) fn forget_who_runs(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if TOLD_BY_CARGO_RUN.iter().any(|told| name.to_string_lossy().starts_with(told)) {
            command.env_remove(name);
        }
    }
}

/// `-p NAME` for each of the packages.
pub(crate) fn select<'a>(packages: impl Iterator<Item = &'a Package>) -> Vec<String> {
    packages.flat_map(|package| ["-p".to_owned(), package.name.clone()]).collect()
}

/// Runs a command to its end; a failure is an error that names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", line(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", line(command));
    }
    Ok(())
}

/// Runs `cargo build` with those arguments and tells what it made.
pub(crate) fn build(
    workspace: &Workspace,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<Vec<Artifact>> {
    compile(command(workspace).args(["build", JSON]).args(arguments))
}

/// Runs a command that compiles and has [`JSON`] among its arguments; tells what it made.
pub(crate) fn compile(command: &mut Command) -> Result<Vec<Artifact>> {
    let line = line(command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {line}"))?;
    let stdout = child.stdout.take().context("cargo has no standard output")?;

    let mut artifacts = Vec::new();
    let mut heartbeat = (!say::is_terminal()).then(Heartbeat::new);
    for message in BufReader::new(stdout).lines() {
        if let Ok(Message::CompilerArtifact(artifact)) = serde_json::from_str(&message?) {
            artifacts.push(artifact);
        }
        if let Some(heartbeat) = &mut heartbeat {
            heartbeat.beat(|| format!("{} crates are ready", artifacts.len()));
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{line} failed ({status})");
    }
    Ok(artifacts)
}

/// Says how long the step will take if this target folder has not seen wasmtime yet.
pub(crate) fn warn_of_first_build(workspace: &Workspace, profile: Profile) {
    let fingerprints = workspace.target.join(profile.folder()).join(".fingerprint");
    let has_wasmtime = std::fs::read_dir(fingerprints).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("wasmtime-wasi-http-"))
    });
    if !has_wasmtime {
        say::note(match profile {
            Profile::Dev => "the first build compiles wasmtime: 10 minutes or so on two cores",
            Profile::Release => "the first release build of wasmtime takes 20 minutes or so",
        });
        say::note("the next ones take seconds");
    }
}

/// One of the two profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Profile {
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Dev => &[],
            Self::Release => &["--release"],
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

/// A command as one would type it, cut short.
fn line(command: &Command) -> String {
    const SHOWN: usize = 6;
    let arguments: Vec<_> = command
        .get_args()
        .filter(|argument| *argument != JSON)
        .map(|argument| argument.to_string_lossy())
        .collect();
    let more = if arguments.len() > SHOWN { " ..." } else { "" };
    let shown: Vec<_> = arguments.into_iter().take(SHOWN).collect();
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or_default();
    format!("`{} {}{more}`", program.to_string_lossy(), shown.join(" "))
}
