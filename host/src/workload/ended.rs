//! How a request or command ends when it does not end well.

use std::{sync::Arc, time::Duration};

use wasmtime::PoolConcurrencyLimitError;

use super::{limits::Denied, spec::Limits};
use crate::boundary::call::{CallError, Failure};

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
    /// It trapped, or could not be started, after it was denied elements of a table.
    #[error("the guest needs larger tables than its {limit} elements (`limits.table-elements`): {}", .source.root_cause())]
    Table {
        /// Elements that its tables may have together.
        limit: usize,
        /// How it ended.
        source: wasmtime::Error,
    },
    /// It could not be started, for it is made of more parts than it may have.
    #[error("the guest is made of more than its {limit} {parts} (`{}`)", .parts.key())]
    Parts {
        /// The parts.
        parts: Parts,
        /// How many it may have.
        limit: usize,
        /// How it ended.
        source: wasmtime::Error,
    },
    /// It wanted to hand more to the host in one call than it may.
    #[error(
        "the guest handed more than its {limit} bytes to a single call of the host (`limits.hostcall`)"
    )]
    Hostcall {
        /// Bytes that a call may copy.
        limit: usize,
        /// How it ended.
        source: wasmtime::Error,
    },
    /// It trapped, for a provider failed and its interface has no case for that.
    #[error("{}: {}", .0, .0.failure)]
    Provider(CallError),
    /// A provider called it with what the function does not take.
    #[error("a provider called the guest wrongly: {0}")]
    Arguments(Failure),
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

/// Of which an instance of a component has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// Core instances.
    Instances,
    /// Tables.
    Tables,
    /// Linear memories.
    Memories,
}

/// What there was none left of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// A place in the workload's queue.
    #[error("{0} requests of the workload are waiting already (`limits.queue`)")]
    Queue(usize),
    /// A turn of the workload's, for as long as the request could wait.
    #[error(
        "the request waited {wait:?} (`limits.queue-wait`) while {concurrency} others of the workload \
         were running (`limits.concurrency`)"
    )]
    Wait {
        /// How long it may wait.
        wait: Duration,
        /// How many of the workload may run.
        concurrency: u32,
    },
    /// Places of the host's, for as long as the request could wait.
    #[error(
        "the request waited {0:?} (`limits.queue-wait`) for one of the host's instances \
         (`engine.instances`)"
    )]
    Instances(Duration),
    /// Room in the engine's pool.
    #[error("the host has no instance left: {0} (`engine.instances`)")]
    Pool(String),
}

/// How wasmtime words that a call copies too much: the type of the error is not public.
const TOO_MUCH_COPIED: &str = "fuel allocated for hostcalls has been exhausted";

/// How wasmtime begins the message about too many parts, which goes on with what they are.
const TOO_MANY: &str = "resource limit exceeded: ";

impl Ended {
    /// How it ended, alone or with others.
    pub fn origin(&self) -> &Self {
        match self {
            Self::With { cause, .. } => cause.origin(),
            other => other,
        }
    }

    /// What an error of wasmtime says about how a guest ended that was `denied` growth.
    pub(super) fn of(error: wasmtime::Error, limits: &Limits, denied: Option<Denied>) -> Self {
        if let Some(limit) = error.downcast_ref::<PoolConcurrencyLimitError>() {
            return Self::Refused(Busy::Pool(limit.to_string()));
        }
        if let Some(error) = error.downcast_ref::<CallError>() {
            return Self::Provider(error.clone());
        }
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return Self::Arguments(failure.clone());
        }
        let cause = error.root_cause().to_string();
        if let Some((parts, limit)) = Parts::exceeded(&cause, limits) {
            return Self::Parts { parts, limit, source: error };
        }
        if cause.contains(TOO_MUCH_COPIED) {
            return Self::Hostcall { limit: limits.hostcall, source: error };
        }
        match denied {
            Some(Denied::Memory) => Self::Memory { limit: limits.memory, source: error },
            Some(Denied::Table) => Self::Table { limit: limits.table_elements, source: error },
            None => Self::Trap(error),
        }
    }

    /// A short name, for a metric's label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::Deadline(_) => "deadline",
            Self::Cpu(_) => "cpu",
            Self::Memory { .. } => "memory",
            Self::Table { .. } => "table-elements",
            Self::Parts { parts: Parts::Instances, .. } => "instances",
            Self::Parts { parts: Parts::Tables, .. } => "tables",
            Self::Parts { parts: Parts::Memories, .. } => "memories",
            Self::Hostcall { .. } => "hostcall",
            Self::Provider(_) => "provider",
            Self::Arguments(_) => "arguments",
            Self::Refused(Busy::Queue(_)) => "queue-full",
            Self::Refused(Busy::Wait { .. }) => "queue-wait",
            Self::Refused(Busy::Instances(_) | Busy::Pool(_)) => "host-full",
            Self::NoResponse => "no-response",
            Self::Error(_) => "error",
            Self::Host(_) => "host",
            Self::With { cause, .. } => cause.kind(),
        }
    }

    /// The key of the limit that it ended at, if it was one.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Deadline(_) => Some("limits.deadline"),
            Self::Cpu(_) => Some("limits.cpu"),
            Self::Memory { .. } => Some("limits.memory"),
            Self::Table { .. } => Some("limits.table-elements"),
            Self::Parts { parts, .. } => Some(parts.key()),
            Self::Hostcall { .. } => Some("limits.hostcall"),
            Self::Refused(Busy::Queue(_)) => Some("limits.queue"),
            Self::Refused(Busy::Wait { .. }) => Some("limits.concurrency"),
            Self::Refused(Busy::Instances(_) | Busy::Pool(_)) => Some("engine.instances"),
            Self::With { cause, .. } => cause.limit(),
            Self::Trap(_)
            | Self::Provider(_)
            | Self::Arguments(_)
            | Self::NoResponse
            | Self::Error(_)
            | Self::Host(_) => None,
        }
    }

    /// What wasmtime says of it, with the guest's backtrace if it has one.
    pub(super) fn cause(&self) -> Option<&wasmtime::Error> {
        match self {
            Self::Trap(cause) | Self::Host(cause) => Some(cause),
            Self::Memory { source, .. }
            | Self::Table { source, .. }
            | Self::Parts { source, .. }
            | Self::Hostcall { source, .. } => Some(source),
            Self::Deadline(_)
            | Self::Cpu(_)
            | Self::Provider(_)
            | Self::Arguments(_)
            | Self::Refused(_)
            | Self::NoResponse
            | Self::Error(_)
            | Self::With { .. } => None,
        }
    }
}

impl Parts {
    /// Which parts there are too many of, and how many there may be.
    fn exceeded(cause: &str, limits: &Limits) -> Option<(Self, usize)> {
        match cause.strip_prefix(TOO_MANY)?.split(' ').next()? {
            "instance" => Some((Self::Instances, limits.instances)),
            "table" => Some((Self::Tables, limits.tables)),
            "memory" => Some((Self::Memories, limits.memories)),
            _ => None,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Instances => "limits.instances",
            Self::Tables => "limits.tables",
            Self::Memories => "limits.memories",
        }
    }
}

impl std::fmt::Display for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Instances => "core instances",
            Self::Tables => "tables",
            Self::Memories => "memories",
        })
    }
}
