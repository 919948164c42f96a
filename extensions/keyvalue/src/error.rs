//! Why an operation did not happen.

use std::sync::Arc;

/// Why an operation on a bucket did not happen. The texts are for guests as well: no path of the
/// host stands in them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No bucket goes by the identifier.
    #[error("there is no bucket `{0}`")]
    NoSuchStore(Box<str>),
    /// The workload was not granted the bucket, or not for writing.
    #[error("the workload was not granted {0}")]
    AccessDenied(Box<str>),
    /// A key is longer than the extension's config allows.
    #[error("a key of {length} bytes; at most {limit} are allowed (`max-key`)")]
    KeyTooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A value is longer than the extension's config allows.
    #[error("a value of {length} bytes; at most {limit} are allowed (`max-value`)")]
    ValueTooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A batch has more bytes than the extension's config allows.
    #[error(
        "a batch of more than {limit} bytes of keys and values (`max-batch`); ask for fewer keys at once"
    )]
    BatchTooLong {
        /// The limit.
        limit: usize,
    },
    /// A value is not a counter.
    #[error("the value is not a counter: expected a whole number as decimal text")]
    NotACounter,
    /// A counter would leave the range of its type.
    #[error("the counter would be {0}, which its type cannot hold; it is unchanged")]
    CounterOverflow(i128),
    /// A cursor is not one that `list-keys` gave out, or its key is gone.
    #[error("the cursor is not known, or its key was deleted; list again from the start")]
    UnknownCursor,
    /// The memory that the extension's config allows is used up.
    #[error("the buckets hold as many bytes as is allowed: {limit} (`max-memory`)")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// More writes wait for the disk than memory is set aside for.
    #[error("the store is overloaded: {waiting} bytes wait to be written; try again later")]
    Overloaded {
        /// Bytes of keys and values that wait.
        waiting: usize,
    },
    /// What the buckets are kept in is away or broken; the text says why.
    #[error("the store is unavailable: {0}")]
    Unavailable(Arc<str>),
}

/// Why the extension does not start, or a workload is not bound to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A setting that cannot be.
    #[error("`{key}`: {problem}")]
    Setting {
        /// The setting's name.
        key: &'static str,
        /// What is wrong, what was expected, what to do.
        problem: String,
    },
    /// The file that the buckets are kept in cannot be used.
    #[error("cannot open {path}: {problem}")]
    File {
        /// The file or folder.
        path: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl ConfigError {
    pub(crate) fn setting(key: &'static str, problem: impl Into<String>) -> Self {
        Self::Setting { key, problem: problem.into() }
    }
}
