//! How a request or command ends when it does not end well.

use std::{sync::Arc, time::Duration};

use crate::boundary::call::CallError;

/// How a guest's request or command ended, other than well.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The guest trapped. `{0:?}` has the cause and the guest's backtrace.
    #[error("the guest trapped: {}", .0.root_cause())]
    Trap(wasmtime::Error),
    /// It was not done when its time ran out.
    #[error("the guest was not done within its deadline of {0:?} (`limits.deadline`)")]
    Deadline(Duration),
    /// It used more CPU time than it may.
    #[error("the guest used more than its {0:?} of CPU time (`limits.cpu`)")]
    Cpu(Duration),
    /// It trapped, or could not be started, after it was denied memory.
    #[error("the guest needs more memory than its {limit} bytes (`limits.memory`): {}", .source.root_cause())]
    Memory {
        /// Bytes of linear memory it may have.
        limit: usize,
        /// How it ended.
        source: wasmtime::Error,
    },
    /// It trapped, for a provider failed and its interface has no case for that.
    #[error("{}: {}", .0, .0.failure)]
    Provider(CallError),
    /// As many run as may; the request was not begun and may be sent again.
    #[error("{0}")]
    Refused(Busy),
    /// It returned, and had made no response.
    #[error("the guest returned without a response")]
    NoResponse,
    /// It answered with an error instead of a response.
    #[error("the guest answered with the error {0}")]
    Error(String),
    /// The host could not give it what its configuration grants.
    #[error("the host could not start the guest: {}", .0.root_cause())]
    Host(wasmtime::Error),
    /// Its instance ended, and nobody can tell which of the requests in it was the cause.
    #[error("its instance ended, and with it {requests} requests: {cause}")]
    With {
        /// How the instance ended.
        cause: Arc<Ended>,
        /// The requests that ended with it.
        requests: usize,
    },
}

/// What there was none left of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// The workload's own limit.
    #[error("{0} requests of the workload are running already (`limits.concurrency`)")]
    Workload(usize),
    /// The engine's pool.
    #[error("the host has no instance left: {0} (`engine.instances`)")]
    Host(String),
}

impl Ended {
    /// How it ended, alone or with others.
    pub fn cause(&self) -> &Self {
        match self {
            Self::With { cause, .. } => cause.cause(),
            other => other,
        }
    }

    /// A short name, for a metric's label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::Deadline(_) => "deadline",
            Self::Cpu(_) => "cpu",
            Self::Memory { .. } => "memory",
            Self::Provider(_) => "provider",
            Self::Refused(_) => "refused",
            Self::NoResponse => "no-response",
            Self::Error(_) => "error",
            Self::Host(_) => "host",
            Self::With { cause, .. } => cause.kind(),
        }
    }
}
