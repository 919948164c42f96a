//! `fuzz`: runs each fuzz target for a while, on inputs that reach further than those before.
//!
//! The targets are programs of `fuzz/` around libFuzzer. Only the workspace's own crates say which branches they
//! take, so that dependencies are those of the tests and nothing large is built again. What a target finds is a
//! panic, an assertion that fails, or an input that takes too long; of undefined behaviour Miri tells.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cargo::{self, JSON, Profile},
    say,
    usage::UsageError,
    workspace::{FUZZ, Workspace},
};

/// How long one input may take, in seconds.
const SLOWEST: u32 = 20;

pub(crate) fn run(workspace: &Workspace, name: Option<&str>, seconds: u32) -> Result<()> {
    let targets = build(workspace)?;
    let names: Vec<_> = targets.iter().map(|(name, _)| name.as_str()).collect();
    let chosen: Vec<_> =
        targets.iter().filter(|(target, _)| name.is_none_or(|name| name == target)).collect();
    if let (Some(name), []) = (name, chosen.as_slice()) {
        return Err(UsageError::unknown("fuzz target", name, &names));
    }
    let (mut runs, mut findings) = (0, 0);
    for (name, program) in &chosen {
        say::step(&format!("fuzzing {name} for {seconds} s"));
        let (tried, found) = one(workspace, name, program, seconds)?;
        println!("{name}: {tried} inputs{}", if found { ", and a finding" } else { "" });
        runs += tried;
        findings += u32::from(found);
    }
    println!("fuzz: {} targets, {runs} inputs, {findings} findings", chosen.len());
    if findings > 0 {
        bail!("a fuzz target found something; its input is named above");
    }
    Ok(())
}

/// Builds the targets: their names and programs.
fn build(workspace: &Workspace) -> Result<Vec<(String, PathBuf)>> {
    say::step("building the fuzz targets");
    cargo::warn_of_first_build(workspace, Profile::Dev);
    let package = workspace.package(FUZZ)?;
    let mut arguments = vec!["build".to_owned(), JSON.to_owned(), "--lib".to_owned()];
    // No other programs: they would lack what the instrumented libraries call.
    for name in names(&package.folder().join("src/bin"))? {
        arguments.extend(["--bin".to_owned(), name]);
    }
    // With the packages of the tests, so that dependencies have the same features.
    arguments.extend(cargo::select(workspace.host_side()));
    arguments.extend(["-p".to_owned(), FUZZ.to_owned()]);
    let mut command = cargo::command(workspace);
    command
        .args(arguments)
        .env("RUSTC_WORKSPACE_WRAPPER", workspace.root.join("fuzz/instrument.sh"));
    let artifacts = cargo::compile(&mut command)?;
    let targets = artifacts.into_iter().filter(|artifact| artifact.is_of(package));
    let targets =
        targets.filter_map(|artifact| Some((artifact.target.name.clone(), artifact.executable?)));
    let mut targets: Vec<_> = targets.collect();
    targets.sort();
    Ok(targets)
}

/// The programs in a folder of sources.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    let stem = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<_> = entries.flatten().filter_map(|entry| stem(entry.path())).collect();
    names.sort();
    Ok(names)
}

/// Runs a target: how many inputs it has tried, and whether it found something.
fn one(workspace: &Workspace, name: &str, program: &Path, seconds: u32) -> Result<(u64, bool)> {
    let folder = workspace.target.join("fuzz").join(name);
    let (corpus, found) = (folder.join("corpus"), folder.join("found"));
    for folder in [&corpus, &found] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let output = Command::new(program)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={SLOWEST}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(["-print_final_stats=1", "-max_len=4096", "-verbosity=0"])
        .arg(&corpus)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        eprintln!("{said}");
    }
    let tried = said
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .and_then(|number| number.trim().parse().ok());
    Ok((tried.unwrap_or_default(), !output.status.success()))
}
