//! Which core servers run on and which the client, and what else this process asks of the machine.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A core for the server and one for the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    pub(crate) client: usize,
}

impl Cores {
    /// The first and the last core that this process may use. It takes the client's.
    pub(crate) fn take() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status").context("cannot read /proc")?;
        let allowed = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .context("/proc/self/status has no Cpus_allowed_list")?;
        let mut cores = allowed.trim().split([',', '-']).map(str::parse::<usize>);
        let server = cores.next().context("no core is allowed")??;
        let client = cores.next_back().transpose()?.unwrap_or(server);
        ensure!(
            client != server,
            "only core {server} may be used; expected two, one for the server and one for the client"
        );
        let process = std::process::id().to_string();
        let pinned = Command::new("taskset").args(["-cp", &client.to_string(), &process]).output();
        let pinned = pinned.context("cannot run `taskset`; it is in the package util-linux")?;
        ensure!(
            pinned.status.success(),
            "cannot pin this process to core {client}: {}",
            String::from_utf8_lossy(&pinned.stderr).trim()
        );
        Ok(Self { server, client })
    }
}

/// Says how busy the machine is already: what else runs is in the times, not in the CPU times.
pub(crate) fn note_load() {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    println!("load        {load} before the benchmark; below 0.5, latencies mean something");
}

/// Lets this process, and the servers that it starts, have as many files open as they may.
pub(crate) fn raise_file_limit(needed: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    ensure!(
        maximum.is_none_or(|maximum| maximum >= needed),
        "this user may have {} files open; expected {needed}; raise the limit (`ulimit -Hn`)",
        maximum.unwrap_or_default()
    );
    let limit = Rlimit { current: maximum.or(Some(needed)), maximum };
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")
}
