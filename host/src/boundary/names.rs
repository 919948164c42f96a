//! The names behind the numbers that results and running calls carry: for the message of an answer
//! that could not be lowered, and of a call that blocks. Read only then.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use super::call::{CallError, Failure, FailureKind};
use crate::watch::failures;

/// What a linked function goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The workload that it is linked for, where its provider knows.
    pub workload: Option<String>,
    /// The provider.
    pub provider: String,
    /// The interface, as the component imports it.
    pub interface: String,
    /// The function.
    pub function: String,
}

static NAMES: Mutex<Option<HashMap<u32, Arc<Names>>>> = Mutex::new(None);

/// Keeps the names of a function until [`forget`]; the number to find them by.
pub(super) fn register(names: &Arc<Names>) -> u32 {
    let id = number();
    with_names(|all| all.insert(id, Arc::clone(names)));
    id
}

/// A number that no other function has.
pub(super) fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Ends what [`register`] began.
pub(super) fn forget(id: u32) {
    with_names(|all| all.remove(&id));
}

/// The function of a call that runs, by the number that [`calls`](crate::watch::calls) has of it.
pub fn of_call(id: u32) -> Option<Arc<Names>> {
    with_names(|all| all.get(&id).cloned())
}

impl Names {
    /// Notes that a call has failed, where that says something of the provider.
    pub(super) fn note(&self, kind: FailureKind) {
        if kind.is_of_provider() {
            failures::note(&self.provider, &self.interface, &self.function, kind.label());
        }
    }

    /// The error that traps a guest for a failure of this function.
    pub(super) fn error(&self, failure: Failure) -> wasmtime::Error {
        wasmtime::Error::new(CallError {
            provider: self.provider.clone(),
            interface: self.interface.clone(),
            function: self.function.clone(),
            failure,
        })
    }
}

/// The error that traps a guest whose results could not be lowered.
#[cold]
pub(super) fn bad_answer(function: u32, error: wasmtime::Error) -> wasmtime::Error {
    let failure = Failure { kind: FailureKind::BadAnswer, message: format!("{error:#}") };
    match of_call(function) {
        Some(names) => {
            names.note(failure.kind);
            names.error(failure)
        }
        None => error,
    }
}

fn with_names<R>(use_them: impl FnOnce(&mut HashMap<u32, Arc<Names>>) -> R) -> R {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    use_them(names.get_or_insert_default())
}
