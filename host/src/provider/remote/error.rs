//! Why a server did not answer a call: each cause by itself, so that none is taken for another.

use std::{io, time::Duration};

use super::{address::Address, frame::FrameError};
use crate::boundary::call::{Failure, FailureKind};

/// Why a call of a server has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error(
        "{running} calls run and {waiting} wait already (`concurrency`, `queue`); it was not sent"
    )]
    Queue { running: usize, waiting: usize },
    #[error("its deadline passed before its turn came (`concurrency`); it was not sent")]
    Waited,
    #[error("{address} cannot be reached: {source}; it was not sent")]
    Connect { address: Address, source: io::Error },
    #[error("{address} could not be reached within {after:?} (`connect-timeout`); it was not sent")]
    ConnectTimeout { address: Address, after: Duration },
    #[error("{address} did not answer within the deadline of {after:?} ({whose}); it may have run")]
    Deadline { address: Address, after: Duration, whose: &'static str },
    #[error("the connection to {address} was lost: {source}; it may have run")]
    Lost { address: Address, source: io::Error },
    #[error(
        "{address} closed the connection without an answer: it does not have the function, or failed; expected a wRPC server of this interface and version"
    )]
    NoAnswer { address: Address },
    #[error(
        "{address} closed the connection without an answer, which says nothing of a function without results; if the server is known to end successful calls so, set `unconfirmed = true`"
    )]
    Unconfirmed { address: Address },
    #[error("the arguments are {bytes} bytes; a frame has at most 4294967295")]
    LongArguments { bytes: usize },
    #[error("the arguments are not what the function takes: {0}")]
    Arguments(backplane_wire::Error),
    #[error("{address} answered with {source} (`answer-size`)")]
    Oversized { address: Address, source: FrameError },
    #[error("{address} answered with {source}; expected wRPC, version 0")]
    Frame { address: Address, source: FrameError },
    #[error("{address} answered with what the function does not return: {source}")]
    Answer { address: Address, source: backplane_wire::Error },
    #[error("the server has no function of number {0}")]
    NoFunction(u32),
    #[error("the host is stopping")]
    Stopped,
}

impl CallError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Queue { .. }
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Lost { .. }
            | Self::NoAnswer { .. }
            | Self::Stopped => FailureKind::Unavailable,
            Self::Waited | Self::Deadline { .. } => FailureKind::Deadline,
            Self::LongArguments { .. } | Self::Arguments(_) => FailureKind::BadArguments,
            Self::Unconfirmed { .. }
            | Self::Oversized { .. }
            | Self::Frame { .. }
            | Self::Answer { .. } => FailureKind::BadAnswer,
            Self::NoFunction(_) => FailureKind::Unimplemented,
        }
    }

    /// Whether it says that the server cannot be reached.
    pub(super) fn is_away(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::ConnectTimeout { .. })
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self { kind: error.kind(), message: error.to_string() }
    }
}
