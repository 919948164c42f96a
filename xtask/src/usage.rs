//! The failure that is the caller's: exit code 2 instead of 1.

use std::fmt;

/// An argument that cannot be, with what it could have been.
#[derive(Debug)]
pub(crate) struct UsageError(String);

impl UsageError {
    /// For a name that is none of `known`.
    pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> anyhow::Error {
        let known = known.join(", ");
        anyhow::Error::new(Self(format!("there is no {what} `{name}`; there are: {known}")))
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}
