//! Runs a `wasi:cli/run` command to its end.

use std::sync::Arc;

use backplane_abi::CallContext;
use wasmtime::Store;
use wasmtime_wasi::I32Exit;

use super::{
    Ended, State, Workload,
    limits::{Guarded, Progress},
    prepare::CommandPre,
};

impl Workload {
    /// Runs the command and returns its exit code: 0 for `ok`, 1 for `err`, or what it passed to
    /// `exit`. `None` if the component is not a command. It has no deadline; dropping the future ends
    /// the guest.
    pub async fn run_command(self: &Arc<Self>) -> Option<Result<i32, Ended>> {
        self.command.as_ref()?;
        let progress = Arc::new(Progress::default());
        let workload = Arc::clone(self);
        let (limits, guest_progress) = (&self.spec().limits, Arc::clone(&progress));
        let guest = Box::pin(async move {
            let context = CallContext::default();
            let store =
                workload.template.store(workload.engine(), context, guest_progress.ending());
            let mut store = store.map_err(Ended::Host)?;
            let result = workload.call_run(&mut store).await;
            let result = result.or_else(|error| match error.downcast_ref::<I32Exit>() {
                Some(I32Exit(code)) => Ok(*code),
                None => Err(workload.failure(&store, error)),
            });
            guest_progress.ended(result.is_ok());
            result
        });
        let seconds = self.meters.cpu_seconds.clone();
        let result = Guarded::new(guest, progress, limits.cpu, None, seconds).await;
        match &result {
            Ok(_) => self.meters.well(),
            Err(ended) => self.report(ended),
        }
        Some(result)
    }

    async fn call_run(&self, store: &mut Store<State>) -> wasmtime::Result<i32> {
        let result = match &self.command {
            Some(CommandPre::P2(pre)) => {
                let command = pre.instantiate_async(&mut *store).await?;
                command.wasi_cli_run().call_run(&mut *store).await?
            }
            Some(CommandPre::P3(pre)) => {
                let command = pre.instantiate_async(&mut *store).await?;
                store
                    .run_concurrent(async |accessor| {
                        command.wasi_cli_run().call_run(accessor).await
                    })
                    .await??
            }
            None => return Err(wasmtime::Error::msg("the component is not a command")),
        };
        Ok(i32::from(result.is_err()))
    }
}
