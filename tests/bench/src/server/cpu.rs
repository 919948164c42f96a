//! The CPU time of another process, from `/proc`.

use std::{collections::HashMap, fs, io, time::Duration};

/// What each thread of a process has used, as its scheduler counts it, in nanoseconds.
///
/// The kernel brings the count of a thread up to date when it stops running: to be read when the
/// process waits.
#[derive(Debug)]
pub(crate) struct CpuTimes(HashMap<u32, u64>);

impl CpuTimes {
    pub(super) fn of(process: u32) -> io::Result<Self> {
        let mut times = HashMap::new();
        for entry in fs::read_dir(format!("/proc/{process}/task"))? {
            let entry = entry?;
            let Some(thread) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // A thread may end meanwhile.
            let Ok(line) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            let time = line.split(' ').next().and_then(|time| time.parse().ok());
            times.insert(thread, time.ok_or_else(|| io::Error::other("schedstat has no time"))?);
        }
        if times.is_empty() {
            return Err(io::Error::other(
                "no thread has a `schedstat`; expected a kernel with CONFIG_SCHED_INFO",
            ));
        }
        Ok(Self(times))
    }

    /// What was used since. Threads that have ended in between are not counted.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let used = |(thread, time): (&u32, &u64)| {
            time.saturating_sub(before.0.get(thread).copied().unwrap_or_default())
        };
        Duration::from_nanos(self.0.iter().map(used).sum())
    }
}
