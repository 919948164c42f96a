//! What can go wrong with the file, in words.

use std::{io::ErrorKind, path::Path, sync::Arc};

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

use crate::{Error, error::ConfigError};

/// A failure of the file. The text is without the file's path, so that guests may see it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Fault {
    text: Arc<str>,
    is_full: bool,
}

impl Fault {
    pub(super) fn new(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), is_full: false }
    }

    /// There is no room on the disk.
    pub(super) fn full() -> Self {
        Self { text: "the disk is full".into(), is_full: true }
    }

    /// Whether there was no room on the disk.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) fn damaged(what: impl std::fmt::Display) -> Self {
        Self::new(format!("the file is damaged: {what}; put a backup in its place"))
    }

    /// A panic of the storage engine, which a damaged file can bring about.
    pub(super) fn panicked(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        Self::damaged(format_args!("the storage engine gave up ({text})"))
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Unavailable(fault.text)
    }
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(error) => match error.kind() {
                ErrorKind::StorageFull => Self::full(),
                ErrorKind::QuotaExceeded => Self::new("the disk quota is used up"),
                ErrorKind::FileTooLarge => {
                    Self::new("the file may not grow: its size limit is reached")
                }
                ErrorKind::ReadOnlyFilesystem => Self::new("the file system is read-only"),
                ErrorKind::InvalidData => {
                    Self::damaged(format_args!("it is not a key-value file ({error})"))
                }
                ErrorKind::UnexpectedEof => Self::damaged("it is shorter than it was"),
                _ => Self::new(format!("the disk failed: {error}")),
            },
            StorageError::Corrupted(what) => Self::damaged(what),
            StorageError::PreviousIo | StorageError::DatabaseClosed => {
                Self::new("the disk failed, and the file is not open again yet")
            }
            other => Self::new(other.to_string()),
        }
    }
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            other => Self::damaged(other),
        }
    }
}

impl From<TransactionError> for Fault {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => Self::new(other.to_string()),
        }
    }
}

impl From<CommitError> for Fault {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            other => Self::new(other.to_string()),
        }
    }
}

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Self::new(
                "it is locked: another process has it open; stop that process, or give this \
                 extension another file with `path`",
            ),
            DatabaseError::UpgradeRequired(version) => Self::new(format!(
                "it is of the old redb format {version}; upgrade it with the redb version that wrote it"
            )),
            DatabaseError::Storage(error) => error.into(),
            other => Self::new(other.to_string()),
        }
    }
}

/// A fault at the start, when the path may be told.
pub(super) fn at(path: &Path, problem: impl std::fmt::Display) -> ConfigError {
    ConfigError::File { path: path.display().to_string(), problem: problem.to_string() }
}
