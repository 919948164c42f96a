//! The report that the guest answers with.

use std::fmt;

/// The checks that were made.
#[derive(Debug, Default)]
pub(crate) struct Report {
    section: &'static str,
    lines: Vec<String>,
    failed: usize,
}

impl Report {
    /// Begins the checks of one version.
    pub(crate) fn section(&mut self, section: &'static str) {
        self.section = section;
    }

    /// Whether nothing failed.
    pub(crate) fn is_ok(&self) -> bool {
        self.failed == 0
    }

    /// A check that is made.
    pub(crate) fn check(&mut self, what: &str, is_ok: bool) {
        self.line(what, is_ok.then_some(()).ok_or(String::new()));
    }

    /// Two values that must be equal.
    pub(crate) fn equal<T: PartialEq + fmt::Debug>(&mut self, what: &str, has: &T, wants: &T) {
        let outcome =
            if has == wants { Ok(()) } else { Err(format!(": expected {wants:?}, got {has:?}")) };
        self.line(what, outcome);
    }

    /// A call that must succeed; answers with what it returned.
    pub(crate) fn done<T, E: fmt::Debug>(&mut self, what: &str, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => {
                self.line(what, Ok(()));
                Some(value)
            }
            Err(error) => {
                self.line(what, Err(format!(": {error:?}")));
                None
            }
        }
    }

    fn line(&mut self, what: &str, outcome: Result<(), String>) {
        let section = self.section;
        match outcome {
            Ok(()) => self.lines.push(format!("ok {section}: {what}")),
            Err(why) => {
                self.failed += 1;
                self.lines.push(format!("not ok {section}: {what}{why}"));
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "{} ok, {} not ok", self.lines.len() - self.failed, self.failed)
    }
}
