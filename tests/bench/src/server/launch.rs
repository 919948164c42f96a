//! Starts a server, waits until it answers, and ends it.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::Read as _,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::cpu::CpuTimes;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at whether it listens: small against the time that any of them takes.
const LOOK: Duration = Duration::from_micros(200);

/// How a server is started. Its address comes last on its command line.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: Vec<OsString>,
    folder: PathBuf,
}

impl Launch {
    pub(crate) fn new(name: &'static str, program: &Path, folder: &Path) -> Self {
        Self { name, program: program.to_owned(), arguments: Vec::new(), folder: folder.to_owned() }
    }

    pub(crate) fn arguments(
        mut self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Under another name, for the table.
    pub(crate) fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Starts it, on one core if one is named. It may not listen yet.
    pub(crate) fn start(&self, core: Option<usize>) -> Result<Running> {
        let address = free_address()?;
        let mut command = match core {
            // Becomes the program, so that the process is the server's. The server finds one core, and
            // takes as many threads as that is worth.
            Some(core) => {
                let mut command = Command::new("taskset");
                command.arg("-c").arg(core.to_string()).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        for (name, _) in std::env::vars_os() {
            // What a developer's shell has and an operator's has not: every error would be walked for.
            let is_ours = name.to_string_lossy().starts_with("BACKPLANE_");
            if is_ours || name == "RUST_BACKTRACE" || name == "RUST_LIB_BACKTRACE" {
                command.env_remove(name);
            }
        }
        // Where an operator would send it: what is written is paid for.
        let path = self.folder.join("stderr");
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("cannot write {}", path.display()))?;
        command.args(&self.arguments).arg(address.to_string()).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.try_clone()?);
        let begun = Instant::now();
        let child = command.spawn().with_context(|| {
            format!("cannot run {} (with `taskset`, of util-linux)", self.program.display())
        })?;
        Ok(Running { name: self.name, child, address, begun, log, path })
    }
}

/// A server that runs. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    /// When it was started.
    pub(crate) begun: Instant,
    child: Child,
    log: File,
    path: PathBuf,
}

impl Running {
    /// Waits until it takes connections; the first is the answer.
    #[expect(clippy::disallowed_methods, reason = "between two looks at the condition")]
    pub(crate) fn connect(&mut self) -> Result<TcpStream> {
        loop {
            if let Ok(stream) = TcpStream::connect(self.address) {
                return Ok(stream);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} instead of serving: {}", self.name, self.said());
            }
            ensure!(
                self.begun.elapsed() < PATIENCE,
                "{} does not listen after {} s: {}",
                self.name,
                PATIENCE.as_secs(),
                self.said()
            );
            thread::sleep(LOOK);
        }
    }

    /// CPU time that its threads have used so far.
    pub(crate) fn cpu(&self) -> Result<CpuTimes> {
        CpuTimes::of(self.child.id()).with_context(|| format!("cannot read times of {}", self.name))
    }

    /// Empties its log, which would fill the disk.
    pub(crate) fn empty_log(&self) -> Result<()> {
        self.log.set_len(0).with_context(|| format!("cannot empty {}", self.path.display()))
    }

    /// The beginning of what it wrote to standard error.
    fn said(&self) -> String {
        let mut said = String::new();
        let read =
            File::open(&self.path).and_then(|file| file.take(2000).read_to_string(&mut said));
        read.map_or_else(|error| error.to_string(), |_| said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().ok();
        }
    }
}

/// An address on loopback whose port nobody has.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port of 127.0.0.1 is free")?;
    Ok(listener.local_addr()?)
}
