//! The tokio runtime that commands run on, made in one place.

use std::future::Future;

use tokio::runtime::Builder;

use crate::report::Report;

/// Runs a command to its end. What it has spawned and not ended is given up then: a read of standard
/// input, say, cannot be stopped.
pub(super) fn block_on<T>(command: impl Future<Output = Result<T, Report>>) -> Result<T, Report> {
    let runtime =
        Builder::new_multi_thread().enable_all().thread_name("backplane").build().map_err(
            |error| {
                Report::failure("the runtime's threads cannot be started")
                    .caused_by(error)
                    .help("raise the limit of processes for this user (`ulimit -u`)")
            },
        )?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}
