//! The names behind the numbers that results carry, for the message of an answer that could not be
//! lowered. Read only then.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use super::call::{CallError, Failure, FailureKind};

/// What a linked function goes by.
pub(super) struct Names {
    pub(super) provider: String,
    pub(super) interface: String,
    pub(super) function: String,
}

static NAMES: Mutex<Option<HashMap<u32, Arc<Names>>>> = Mutex::new(None);

/// Keeps the names of a function until [`forget`]; the number to find them by.
pub(super) fn register(names: &Arc<Names>) -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    with_names(|all| all.insert(id, Arc::clone(names)));
    id
}

/// Ends what [`register`] began.
pub(super) fn forget(id: u32) {
    with_names(|all| all.remove(&id));
}

impl Names {
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
    match with_names(|all| all.get(&function).cloned()) {
        Some(names) => names.error(failure),
        None => error,
    }
}

fn with_names<R>(use_them: impl FnOnce(&mut HashMap<u32, Arc<Names>>) -> R) -> R {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    use_them(names.get_or_insert_default())
}
