//! What the commands print while they work.
//!
//! Steps go to standard error, results to standard output, so that a pipe gets the results alone.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

/// Says what is being done now.
pub(crate) fn step(what: &str) {
    if is_terminal() {
        eprintln!("\x1b[1m==> {what}\x1b[0m");
    } else {
        eprintln!("==> {what}");
    }
}

/// Adds a line to the step.
pub(crate) fn note(what: &str) {
    eprintln!("    {what}");
}

/// Whether somebody watches: then cargo draws its own progress.
pub(crate) fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Tells, while nobody watches, that a long step is still going on.
pub(crate) struct Heartbeat {
    started: Instant,
    next: Duration,
}

impl Heartbeat {
    const EVERY: Duration = Duration::from_secs(60);

    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), next: Self::EVERY }
    }

    /// Says `progress` if a minute has passed since the last time.
    pub(crate) fn beat(&mut self, progress: impl FnOnce() -> String) {
        let passed = self.started.elapsed();
        if passed >= self.next {
            self.next = passed + Self::EVERY;
            note(&format!("{} min: {}", passed.as_secs() / 60, progress()));
        }
    }
}
