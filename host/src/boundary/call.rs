//! What the boundary asks of whoever answers a call.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use backplane_abi::{Buffer, CallContext, Exchange, FailureCode};

use super::streams::Streams;

/// Answers the calls of one binding. Providers implement it; the boundary knows nothing else of them.
pub trait Callee: Send + Sync + 'static {
    /// The provider's name, for logs and metrics.
    fn provider(&self) -> &str;

    /// The workload whose calls it answers, for logs; none where it has none of its own.
    fn workload(&self) -> Option<&str> {
        None
    }

    /// The ends of the streams that it reads and writes; none where it takes none.
    fn streams(&self) -> Option<&Arc<Streams>> {
        None
    }

    /// Calls a function by its number. The arguments are wire values, one parameter after another, and
    /// may be taken; the results come back the same way, in the same exchange where they are at hand.
    /// Called on the task of the guest: does not block, and answers [`Answer::Pending`] where it has to
    /// wait.
    fn call(&self, function: u32, context: &CallContext, exchange: &mut Exchange) -> Answer;

    /// Releases a resource that a call has returned. Called once for each. Does not block.
    fn drop_resource(&self, resource: u32, handle: u64);
}

/// The end of a pending call. Dropping it cancels the call.
pub type LaterAnswer = Pin<Box<dyn Future<Output = Result<Buffer, Failure>> + Send>>;

/// What a call answers. Two words, so that it stays in registers: most calls answer at once.
pub enum Answer {
    /// The results are at hand, in the exchange.
    Ready,
    /// The results come later. Dropping the future cancels the call.
    Pending(Box<LaterAnswer>),
    /// The provider failed.
    Failed(Box<Failure>),
}

impl Answer {
    /// The results come later.
    pub fn pending(later: impl Future<Output = Result<Buffer, Failure>> + Send + 'static) -> Self {
        Self::Pending(Box::new(Box::pin(later)))
    }

    /// The provider failed.
    pub fn failed(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// Why a provider could not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    /// One line for the operator: what failed, on what.
    pub message: String,
}

/// The kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// None of the others.
    Other,
    /// The provider's code panicked.
    Panicked,
    /// The provider is a component, and its instance was ended: it trapped, or met a limit.
    Trapped,
    /// The provider has no such function.
    Unimplemented,
    /// The arguments are not what the function takes.
    BadArguments,
    /// What the provider needs is away.
    Unavailable,
    /// The call's deadline passed.
    Deadline,
    /// The workload may not do this.
    Denied,
    /// The provider's answer is not what the function returns.
    BadAnswer,
}

impl FailureKind {
    /// The kind with this number in the ABI.
    pub fn from_code(code: u32) -> Self {
        match code {
            FailureCode::PANICKED => Self::Panicked,
            FailureCode::UNIMPLEMENTED => Self::Unimplemented,
            FailureCode::BAD_ARGUMENTS => Self::BadArguments,
            FailureCode::UNAVAILABLE => Self::Unavailable,
            FailureCode::DEADLINE => Self::Deadline,
            FailureCode::DENIED => Self::Denied,
            _ => Self::Other,
        }
    }

    /// Its number in the ABI.
    pub fn code(self) -> u32 {
        match self {
            Self::Panicked => FailureCode::PANICKED,
            Self::Unimplemented => FailureCode::UNIMPLEMENTED,
            Self::BadArguments => FailureCode::BAD_ARGUMENTS,
            Self::Unavailable => FailureCode::UNAVAILABLE,
            Self::Deadline => FailureCode::DEADLINE,
            Self::Denied => FailureCode::DENIED,
            Self::Other | Self::BadAnswer | Self::Trapped => FailureCode::OTHER,
        }
    }

    /// Whether it says that the provider is not well. The others may be the doing of whoever calls.
    pub fn is_of_provider(self) -> bool {
        match self {
            Self::Panicked
            | Self::Trapped
            | Self::Unavailable
            | Self::Deadline
            | Self::BadAnswer => true,
            Self::Other | Self::Unimplemented | Self::BadArguments | Self::Denied => false,
        }
    }

    /// The kind as a label of a metric.
    pub fn label(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Panicked => "panicked",
            Self::Trapped => "trapped",
            Self::Unimplemented => "unimplemented",
            Self::BadArguments => "bad-arguments",
            Self::Unavailable => "unavailable",
            Self::Deadline => "deadline",
            Self::Denied => "denied",
            Self::BadAnswer => "bad-answer",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Other => "the provider failed",
            Self::Panicked => "the provider panicked",
            Self::Trapped => "the extension's instance was ended",
            Self::Unimplemented => "the provider does not implement the function",
            Self::BadArguments => "the provider refused the arguments",
            Self::Unavailable => "the provider lacks what it needs",
            Self::Deadline => "the deadline passed",
            Self::Denied => "the provider denied the call",
            Self::BadAnswer => "the provider's answer is malformed",
        })
    }
}

/// A call that the guest did not survive: the error of the trap, for whoever runs the workload to
/// log and count.
#[derive(Debug, Clone, thiserror::Error)]
#[error("call of `{interface}#{function}` on provider `{provider}` failed")]
pub struct CallError {
    /// The provider.
    pub provider: String,
    /// The interface, as the component imports it.
    pub interface: String,
    /// The function.
    pub function: String,
    /// The cause.
    #[source]
    pub failure: Failure,
}
