//! The host: its binary, and a process of it.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    cargo::{self, Artifact, Profile},
    extension, say,
    workspace::{Package, Workspace},
};

/// The package of the host.
pub(crate) const PACKAGE: &str = "backplane";

/// How long the host may take to start, or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// The host and an extension, in the profile of the tests.
pub(crate) struct Built {
    pub(crate) binary: PathBuf,
    pub(crate) library: PathBuf,
}

/// Builds the host together with an extension. In one go, because cargo would choose other features
/// for the extension alone, and compile half of what it depends on twice.
pub(crate) fn build_with(workspace: &Workspace, extension: &Package) -> Result<Built> {
    say::step(&format!("building the host and the extension {}", extension.folder_name()));
    cargo::warn_of_first_build(workspace, Profile::Dev);
    let host = workspace.package(PACKAGE)?;
    let mut arguments = vec!["--lib".to_owned(), "--bins".to_owned()];
    arguments.extend(cargo::select([host, extension].into_iter()));
    let artifacts = cargo::build(workspace, arguments)?;
    Ok(Built {
        binary: binary(&artifacts, host)?,
        library: extension::library(&artifacts, extension)?,
    })
}

/// The host's binary among what a build made.
pub(crate) fn binary(artifacts: &[Artifact], host: &Package) -> Result<PathBuf> {
    artifacts
        .iter()
        .filter(|artifact| artifact.is_of(host) && !artifact.profile.test)
        .find_map(|artifact| artifact.executable.clone())
        .context("the build of the host left no binary")
}

/// Runs the host with the settings of its files and flags alone.
pub(crate) fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BACKPLANE_") {
            command.env_remove(name);
        }
    }
    command
}

/// A host that runs; killed if it is not stopped.
pub(crate) struct Running(Child);

impl Running {
    /// Starts a host and waits until it takes connections at `address`.
    pub(crate) fn start(command: &mut Command, address: SocketAddr) -> Result<Self> {
        let mut running = Self(command.spawn().context("cannot start the host")?);
        wait_for("the host does not listen", || {
            if let Some(status) = running.0.try_wait()? {
                bail!("the host ended with {status} instead of serving");
            }
            Ok(TcpStream::connect(address).ok())
        })?;
        Ok(running)
    }

    /// Asks it to end, and waits until it has, with exit code 0.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::TERM).context("cannot signal the host")?;
        let status = wait_for("the host does not stop after SIGTERM", || Ok(self.0.try_wait()?))?;
        ensure!(status.success(), "the host ended with {status} after SIGTERM");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) && self.0.kill().is_ok() {
            self.0.wait().ok();
        }
    }
}

/// `wanted`, or an address with a free port where that is taken.
pub(crate) fn free_address(wanted: &str) -> Result<SocketAddr> {
    let listener = TcpListener::bind(wanted)
        .or_else(|_| TcpListener::bind("127.0.0.1:0"))
        .context("no port of 127.0.0.1 is free")?;
    Ok(listener.local_addr()?)
}

/// Asks again and again until there is an answer; `complaint` is what to say when there is none.
#[expect(clippy::disallowed_methods, reason = "between two looks at the condition")]
fn wait_for<T>(complaint: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "{complaint} within {} s", PATIENCE.as_secs());
        thread::sleep(Duration::from_millis(50));
    }
}
