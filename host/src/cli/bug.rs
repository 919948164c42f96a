//! Panics never reach a user as such: they are logged, and a report says that they are our bug.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
};

use crate::report::Report;

/// Where the latest panic happened and what it said; for the report, which has no other way to it.
static LATEST: Mutex<Option<(String, String)>> = Mutex::new(None);

/// Runs the program. A panic on any thread is logged; one that gets here ends it with exit code 1.
pub(super) fn guard(program: impl FnOnce() -> ExitCode) -> ExitCode {
    panic::set_hook(Box::new(note));
    caught(program).unwrap_or_else(|report| {
        report.print();
        report.exit_code()
    })
}

fn caught(program: impl FnOnce() -> ExitCode) -> Result<ExitCode, Report> {
    panic::catch_unwind(AssertUnwindSafe(program)).map_err(|_| report())
}

fn note(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let said = info.payload_as_str().unwrap_or("nothing").to_owned();
    let trace = Backtrace::capture();
    let backtrace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
    tracing::error!(
        place,
        said,
        thread = thread::current().name(),
        backtrace,
        "backplane panicked; this is a bug in it"
    );
    *LATEST.lock().unwrap_or_else(PoisonError::into_inner) = Some((place, said));
}

fn report() -> Report {
    let latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (place, said) = latest.unwrap_or_default();
    Report::failure(format_args!("backplane panicked: {said}"))
        .at(place)
        .help("this is a bug in backplane; please report it with this text")
        .help("RUST_BACKTRACE=1 in the environment adds a backtrace to the log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_with_exit_code_1_and_a_report_that_calls_it_a_bug() {
        assert_eq!(caught(|| ExitCode::SUCCESS), Ok(ExitCode::SUCCESS));
        // As the hook does, which is not set here: it is the whole process's.
        *LATEST.lock().unwrap() = Some(("host/src/x.rs:1:2".into(), "at the disco".into()));
        let report = caught(|| panic!("at the disco")).unwrap_err();
        assert_eq!(report.exit_code(), ExitCode::from(1));
        assert!(report.to_string().starts_with(
            "error: backplane panicked: at the disco\n  --> host/src/x.rs:1:2\n  help: this is a bug"
        ));
    }
}
