//! `instructions`: how many instructions a call of an import takes, by valgrind's callgrind, held against what it took
//! before. Times say more, and not on every machine; this says when a call has become longer.
//!
//! A count is that of a run with many calls less that of one with few, so that what it takes to start is not in it. What
//! is kept, in `tests/bench/instructions.json`, and compared is the ratio to functions that are compiled in: it is less of
//! the machine's and the compiler's than a number.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::test::{COMPONENTS, EXTENSIONS};
use crate::{
    cargo::{self, Profile},
    extension, guests, say,
    workspace::Workspace,
};

/// The package with the benchmark.
const PACKAGE: &str = "backplane-bench";
/// The calls that are counted: what `bench boundary` takes as `--only`.
const CASES: [&str; 4] = ["sync get 16B", "sync set 16B", "sync record", "concurrent get 16B"];
/// How much more than before is a failure.
const TOLERANCE: f64 = 0.05;
/// Calls of the longer run, and of the shorter.
const CALLS: [u32; 2] = [200_000, 1];

pub(crate) fn run(workspace: &Workspace, update: bool) -> Result<()> {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        bail!("valgrind is not there; `apt-get install valgrind`");
    }
    let built = Built::new(workspace)?;
    say::step("counting the instructions of calls, in valgrind");
    let file = workspace.root.join("tests/bench/instructions.json");
    let before = read(&file)?;
    let (mut now, mut longer) = (BTreeMap::new(), Vec::new());
    println!("{:<20} {:>8} {:>8} {:>6} {:>7}", "case", "native", "typed", "ratio", "before");
    for case in CASES {
        let (native, typed) = built.count(case)?;
        let ratio = native / typed;
        let was = before.get(case).copied();
        let shown = was.map_or_else(|| "-".to_owned(), |was| format!("{was:.3}"));
        println!("{case:<20} {native:>8.0} {typed:>8.0} {ratio:>6.3} {shown:>7}");
        if was.is_none_or(|was| ratio > was * (1.0 + TOLERANCE)) {
            longer.push(case);
        } else if was.is_some_and(|was| ratio < was * (1.0 - TOLERANCE)) {
            println!(
                "`{case}` is shorter than it was: `cargo xtask instructions --update` keeps that"
            );
        }
        now.insert(case.to_owned(), (ratio * 1000.0).round() / 1000.0);
    }
    if update {
        let text = serde_json::to_string_pretty(&now)? + "\n";
        return fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()));
    }
    if !longer.is_empty() {
        bail!(
            "{} takes over {:.0}% more instructions than before; mend it, or keep it with \
             `cargo xtask instructions --update` and say why",
            longer.join(", "),
            TOLERANCE * 100.0
        );
    }
    Ok(())
}

/// The ratios that are kept.
fn read(file: &Path) -> Result<BTreeMap<String, f64>> {
    match fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text)
            .with_context(|| format!("{} does not hold what it should", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// What is run.
struct Built {
    bench: PathBuf,
    components: PathBuf,
    extensions: PathBuf,
}

impl Built {
    fn new(workspace: &Workspace) -> Result<Self> {
        let components = guests::build(workspace, workspace.guests())?;
        say::step("building the benchmark, optimised, on the dependencies of the tests");
        cargo::warn_of_first_build(workspace, Profile::Dev);
        let mut command = cargo::command(workspace);
        command.args(["build", cargo::JSON, "--lib", "--bin", PACKAGE]);
        // The packages of the tests, so that dependencies have the same features and are there already.
        command.args(cargo::select(workspace.host_side()));
        command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "3");
        let artifacts = cargo::compile(&mut command)?;
        let extensions = workspace.target.join("extensions-counted");
        for extension in extension::all(workspace) {
            let library = extension::library(&artifacts, extension)?;
            extension::install(&library, extension.folder_name(), &extensions)?;
        }
        let package = workspace.package(PACKAGE)?;
        let bench = artifacts
            .iter()
            .filter(|artifact| artifact.is_of(package))
            .find_map(|artifact| artifact.executable.clone())
            .context("the build of the benchmark left no binary")?;
        Ok(Self { bench, components, extensions })
    }

    /// Instructions of a call of the extension, and of one that is compiled in.
    fn count(&self, case: &str) -> Result<(f64, f64)> {
        thread::scope(|scope| {
            let native = scope.spawn(|| self.of(case, "native"));
            let typed = self.of(case, "typed")?;
            match native.join() {
                Ok(native) => Ok((native?, typed)),
                Err(_) => bail!("the count of `{case}` panicked"),
            }
        })
    }

    fn of(&self, case: &str, implementation: &str) -> Result<f64> {
        let [many, few] = CALLS;
        let [most, least] = [many, few].map(|calls| self.collected(case, implementation, calls));
        Ok(most?.saturating_sub(least?) as f64 / f64::from(many - few))
    }

    /// All instructions of a run.
    fn collected(&self, case: &str, implementation: &str, calls: u32) -> Result<u64> {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&self.bench)
            .args(["boundary", "--only", case, "--alone", implementation])
            .args(["--calls", &calls.to_string()])
            .env(COMPONENTS, &self.components)
            .env(EXTENSIONS, &self.extensions)
            .stdin(Stdio::null())
            .output()
            .context("cannot run valgrind")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "`{case}` of {implementation} in valgrind failed:\n{said}"
        );
        let collected = said.lines().find_map(|line| line.split_once("Collected : "));
        let collected = collected.and_then(|(_, count)| count.trim().parse().ok());
        collected.with_context(|| format!("valgrind has not said what it counted:\n{said}"))
    }
}
