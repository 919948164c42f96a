//! No panic leaves the extension: each becomes a [`Failure`] with the panic's text.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{Failure, FailureKind};

/// Runs `body`; a panic in it is a failure of kind `Panicked`.
#[inline]
pub(crate) fn catch<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    // What the body touches is given up after a panic: a future is dropped, a call has failed.
    catch_unwind(AssertUnwindSafe(body)).map_err(panicked)
}

/// The failure that a caught panic is.
#[cold]
pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Failure {
    let text = match payload.downcast::<&'static str>() {
        Ok(text) => (*text).to_owned(),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => {
                // A payload of an unknown type could panic again when dropped.
                std::mem::forget(payload);
                "with a value that is no text".to_owned()
            }
        },
    };
    Failure::of(FailureKind::Panicked, format_args!("panicked: {text}"))
}
