//! Why a handler could not answer.

use std::fmt;

use backplane_abi::{Failed, FailureCode};

/// Why an extension could not do its part: a lost server, a full disk, a bug. Not for what the
/// interface has an error of its own for; that is a *result* of the call.
///
/// Every `std::error::Error` turns into one with `?`, its causes included. The operator sees the
/// message in the host's log; the guest traps, or gets its interface's error where the host can tell.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    code: u32,
    message: String,
}

/// The kinds of [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// No kind of its own.
    Other,
    /// The extension's code panicked.
    Panicked,
    /// There is no such function.
    Unimplemented,
    /// The arguments, or a resource handle among them, are not what the function takes.
    BadArguments,
    /// What the extension needs is away: a server, a file, a full disk.
    Unavailable,
    /// The call's deadline passed.
    Deadline,
    /// The workload may not do this.
    Denied,
}

impl Failure {
    /// A failure with no kind of its own. `message` is one line: what failed, on what.
    #[cold]
    pub fn new(message: impl fmt::Display) -> Self {
        Self::of(FailureKind::Other, message)
    }

    /// A failure of a kind.
    #[cold]
    pub fn of(kind: FailureKind, message: impl fmt::Display) -> Self {
        let code = match kind {
            FailureKind::Other => FailureCode::OTHER,
            FailureKind::Panicked => FailureCode::PANICKED,
            FailureKind::Unimplemented => FailureCode::UNIMPLEMENTED,
            FailureKind::BadArguments => FailureCode::BAD_ARGUMENTS,
            FailureKind::Unavailable => FailureCode::UNAVAILABLE,
            FailureKind::Deadline => FailureCode::DEADLINE,
            FailureKind::Denied => FailureCode::DENIED,
        };
        Self { code, message: message.to_string() }
    }

    /// What the extension needs is away.
    #[cold]
    pub fn unavailable(message: impl fmt::Display) -> Self {
        Self::of(FailureKind::Unavailable, message)
    }

    /// The workload may not do this.
    #[cold]
    pub fn denied(message: impl fmt::Display) -> Self {
        Self::of(FailureKind::Denied, message)
    }

    /// The kind.
    pub fn kind(&self) -> FailureKind {
        match self.code {
            FailureCode::PANICKED => FailureKind::Panicked,
            FailureCode::UNIMPLEMENTED => FailureKind::Unimplemented,
            FailureCode::BAD_ARGUMENTS => FailureKind::BadArguments,
            FailureCode::UNAVAILABLE => FailureKind::Unavailable,
            FailureCode::DEADLINE => FailureKind::Deadline,
            FailureCode::DENIED => FailureKind::Denied,
            _ => FailureKind::Other,
        }
    }

    /// The line for the operator.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same failure, with what was being done before its message.
    #[must_use]
    pub fn while_doing(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

/// Not an `Error` itself, so that every error can turn into one.
impl<E: std::error::Error> From<E> for Failure {
    #[cold]
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            message.push_str(": ");
            message.push_str(&error.to_string());
            source = error.source();
        }
        Self::new(message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind(), self.message)
    }
}

pub(crate) fn to_failed(failure: Failure) -> Failed {
    Failed { code: failure.code, message: failure.message.into() }
}

pub(crate) fn from_failed(failed: Failed) -> Failure {
    Failure { code: failed.code, message: failed.message.into() }
}
