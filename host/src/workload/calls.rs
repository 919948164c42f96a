//! Answers a provider's call of what a workload exports: admits it, and tells both sides how it ended.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use backplane_abi::{Buffer, CallContext};
use futures::future::{BoxFuture, ready};
use metrics::Counter;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{timeout, timeout_at},
};

use super::{Ended, State, Workload, admission::Permit, caller::Caller};
use crate::{
    boundary::{
        call::{Failure, FailureKind},
        invoke::{Arguments, Export, Results},
    },
    metric::{EXPORT_CALL_FAILURES, EXPORT_CALLS},
    name::WorkloadName,
    provider::calls::Callable,
};

/// How deep calls may nest that lead from a workload through a provider into a workload.
pub const MAX_DEPTH: u32 = 16;

/// A function of the workload's that a provider calls.
pub(super) struct Exported {
    pub(super) export: Export<State>,
    /// None where workloads call it, who count that.
    calls: Option<Counter>,
}

impl Exported {
    pub(super) fn new(workload: &WorkloadName, export: Export<State>, is_called: bool) -> Self {
        let calls = || {
            metrics::counter!(
                EXPORT_CALLS.name,
                "workload" => workload.to_string(),
                "provider" => export.provider().to_owned(),
                "interface" => export.interface().to_owned(),
                "function" => export.function().to_owned()
            )
        };
        Self { calls: is_called.then(calls), export }
    }
}

/// A call of such a function.
pub(super) struct Call {
    /// Its place among those that are called.
    pub(super) function: usize,
    pub(super) arguments: Arguments,
}

impl Callable for Workload {
    fn call(
        self: Arc<Self>,
        function: usize,
        arguments: Buffer,
        context: CallContext,
    ) -> BoxFuture<'static, Result<Buffer, Failure>> {
        let Some(exported) = self.exports.get(function) else {
            return failed(failure(FailureKind::Unimplemented, "there is no such function"));
        };
        if let Some(calls) = &exported.calls {
            calls.increment(1);
        }
        // Taken over first: the resources among them end with the call, whatever comes of it.
        let arguments = exported.export.arguments(arguments);
        match arguments.and_then(|arguments| self.admits(&context).map(|()| arguments)) {
            Ok(arguments) => {
                let runtime = self.runtime.clone();
                let call = Counted::new(self).run(Call { function, arguments }, context);
                // The guest runs on the host's threads, whichever thread waits for it.
                Box::pin(Pending(runtime.spawn(call)))
            }
            Err(failure) => {
                self.tell(exported, &failure);
                failed(failure)
            }
        }
    }
}

fn failed(failure: Failure) -> BoxFuture<'static, Result<Buffer, Failure>> {
    Box::pin(ready(Err(failure)))
}

pub(super) fn failure(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into() }
}

/// How many calls of a workload's providers run, and whether more may begin.
pub(super) type Running = watch::Sender<Calls>;

#[derive(Debug, Default)]
pub(super) struct Calls {
    running: usize,
    is_draining: bool,
}

/// A call of a workload that is counted as long as this lives.
struct Counted(Arc<Workload>);

impl Counted {
    fn new(workload: Arc<Workload>) -> Self {
        workload.called.send_modify(|calls| calls.running += 1);
        Self(workload)
    }

    /// Runs the call to its end, or until the workload must end.
    async fn run(self, call: Call, context: CallContext) -> Result<Buffer, Failure> {
        let workload = &self.0;
        let function = call.function;
        let mut stop = workload.stop.subscribe();
        let answer = tokio::select! {
            biased;
            answer = workload.admitted(call, &context) => answer,
            _ = stop.wait_for(|stop| *stop) => {
                return Err(failure(FailureKind::Unavailable, "the workload was stopped"));
            }
        };
        answer.map(Results::into_message).map_err(|ended| {
            workload.report(&ended);
            let failure = failure_of(&ended);
            if let Some(exported) = workload.exports.get(function) {
                workload.tell(exported, &failure);
            }
            failure
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.called.send_modify(|calls| calls.running -= 1);
    }
}

impl Workload {
    /// Lets its providers begin no more calls, and waits for those that run, for so long.
    pub async fn drain_calls(&self, within: Duration) {
        self.called.send_modify(|calls| calls.is_draining = true);
        let mut calls = self.called.subscribe();
        if timeout(within, calls.wait_for(|calls| calls.running == 0)).await.is_err() {
            tracing::warn!(
                workload = %self.name(),
                "{} calls of its providers did not end within {within:?}",
                self.called.borrow().running
            );
        }
    }

    fn admits(&self, context: &CallContext) -> Result<(), Failure> {
        if context.depth > MAX_DEPTH {
            let message = format!(
                "{} calls led from workload to workload to this one, and {MAX_DEPTH} may",
                context.depth
            );
            return Err(failure(FailureKind::Denied, message));
        }
        if self.called.borrow().is_draining {
            return Err(failure(FailureKind::Unavailable, "the workload is stopping"));
        }
        Ok(())
    }

    async fn admitted(
        self: &Arc<Self>,
        call: Call,
        context: &CallContext,
    ) -> Result<Results, Ended> {
        let permit = self.permit(&Caller::provider(None, context)).await?;
        // What the workload itself may take begins with its turn.
        let caller = Caller::provider(self.spec().limits.deadline, context);
        self.results(call, caller, permit).await
    }

    /// A turn, as long as the caller waits for one.
    async fn permit(&self, caller: &Caller) -> Result<Permit, Ended> {
        match caller.deadline {
            None => self.admission.enter().await,
            Some((after, at)) => match timeout_at(at, self.admission.enter()).await {
                Ok(entered) => entered,
                Err(_) => Err(Ended::Deadline(after)),
            },
        }
    }

    /// Tells the operator of a call that failed. The provider hears it as the call's result.
    #[cold]
    fn tell(&self, exported: &Exported, failure: &Failure) {
        let (workload, export) = (self.name(), &exported.export);
        let (provider, interface, function) =
            (export.provider(), export.interface(), export.function());
        let kind = failure.kind.label();
        metrics::counter!(
            EXPORT_CALL_FAILURES.name,
            "workload" => workload.to_string(),
            "provider" => provider.to_owned(),
            "interface" => interface.to_owned(),
            "function" => function.to_owned(),
            "kind" => kind
        )
        .increment(1);
        tracing::warn!(
            %workload, provider, interface, function, kind,
            "the provider's call of the workload failed: {}", failure.message
        );
    }
}

/// How a provider hears that a guest did not answer.
fn failure_of(ended: &Ended) -> Failure {
    match ended.origin() {
        Ended::Arguments(failure) => failure.clone(),
        Ended::Deadline(_) => failure(FailureKind::Deadline, ended.to_string()),
        Ended::Refused(_) => failure(FailureKind::Unavailable, ended.to_string()),
        _ => failure(FailureKind::Other, ended.to_string()),
    }
}

/// A call that somebody waits for. Dropped, it is cancelled.
struct Pending(JoinHandle<Result<Buffer, Failure>>);

impl Future for Pending {
    type Output = Result<Buffer, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|ended| {
            ended.unwrap_or_else(|error| {
                Err(failure(FailureKind::Unavailable, format!("the call was given up: {error}")))
            })
        })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.abort();
    }
}
