//! What one workload has of a component extension: the way to call it, and its share of the extension's time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use backplane_abi::{Buffer, CallContext, Exchange};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{timeout, timeout_at},
};

use super::Running;
use crate::{
    boundary::{
        call::{Answer, Callee, Failure, FailureKind},
        invoke::{Arguments, Results},
    },
    name::{ProviderName, WorkloadName},
    workload::{
        Ended, MAX_DEPTH,
        admission::Permit,
        caller::Caller,
        calls::{Call, failure},
        ended::Busy,
    },
};

/// A workload that is bound to an extension.
///
/// The extension's own queue serves who comes first. So a workload may have no more calls there than run at
/// once; its others wait here, where they are in nobody's way.
pub(super) struct BoundWorkload {
    extension: String,
    workload: String,
    shared: Arc<Shared>,
}

struct Shared {
    running: Arc<Running>,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl BoundWorkload {
    pub(super) fn new(
        extension: &ProviderName,
        workload: &WorkloadName,
        running: &Arc<Running>,
    ) -> Self {
        let turns = running.workload.spec().limits.concurrency.min(Semaphore::MAX_PERMITS);
        let shared = Shared {
            running: Arc::clone(running),
            turns: Arc::new(Semaphore::new(turns)),
            waiting: AtomicUsize::new(0),
        };
        Self {
            extension: extension.to_string(),
            workload: workload.to_string(),
            shared: Arc::new(shared),
        }
    }
}

impl Callee for BoundWorkload {
    fn provider(&self) -> &str {
        &self.extension
    }

    fn workload(&self) -> Option<&str> {
        Some(&self.workload)
    }

    fn call(&self, function: u32, context: &CallContext, exchange: &mut Exchange) -> Answer {
        let number = usize::try_from(function).unwrap_or(usize::MAX);
        let Some(exported) = self.shared.running.workload.exports.get(number) else {
            return Answer::failed(failure(
                FailureKind::Unimplemented,
                "there is no such function",
            ));
        };
        // Taken over first: the resources among them end with the call, whatever comes of it.
        let arguments = exported.export.arguments(std::mem::take(&mut exchange.arguments));
        let admitted = arguments.and_then(|arguments| {
            admits(context).and_then(|()| self.shared.running.supervisor.admits())?;
            Ok(arguments)
        });
        match admitted {
            Ok(arguments) => {
                let shared = Arc::clone(&self.shared);
                let context = CallContext { depth: context.depth.saturating_add(1), ..*context };
                Answer::pending(shared.call(number, arguments, context))
            }
            Err(failure) => Answer::failed(failure),
        }
    }

    fn drop_resource(&self, resource: u32, handle: u64) {
        self.shared.running.released.drop_resource(resource, handle);
    }
}

fn admits(context: &CallContext) -> Result<(), Failure> {
    if context.depth < MAX_DEPTH {
        return Ok(());
    }
    let message = format!("{} calls led to this one, and {MAX_DEPTH} may", context.depth);
    Err(failure(FailureKind::Denied, message))
}

impl Shared {
    /// Waits for a turn and for the answer, until the caller's deadline. Dropped before its turn, the call is
    /// never made. Once the guest has it, it is made to its end, whoever waits: to end it is to end the instance,
    /// with what it keeps and what it does for others.
    async fn call(
        self: Arc<Self>,
        function: usize,
        arguments: Arguments,
        context: CallContext,
    ) -> Result<Buffer, Failure> {
        let caller = Caller::provider(None, &context);
        let call = async {
            let (turn, permit) = self.turn().await.map_err(|ended| self.failed(&ended))?;
            let running = Arc::clone(&self.running);
            let call = Call { function, arguments };
            let run = self.running.workload.runtime.spawn(async move {
                // As long as it runs, whoever waits for it.
                let _turn = turn;
                run(running, call, context, permit).await
            });
            run.await.unwrap_or_else(|error| {
                Err(failure(FailureKind::Unavailable, format!("the call was given up: {error}")))
            })
        };
        let results = match caller.deadline {
            None => call.await,
            Some((after, at)) => match timeout_at(at, call).await {
                Ok(results) => results,
                Err(_) => {
                    let message = format!("the caller's deadline passed after {after:?}");
                    Err(failure(FailureKind::Deadline, message))
                }
            },
        };
        results.map(Results::into_message)
    }

    /// A turn among the workload's own calls, and one among all of the extension's.
    async fn turn(&self) -> Result<(OwnedSemaphorePermit, Permit), Ended> {
        let workload = &self.running.workload;
        let limits = &workload.spec().limits;
        let turn = match Arc::clone(&self.turns).try_acquire_owned() {
            Ok(turn) => turn,
            Err(_) => {
                let _waiting = Waiting::begin(&self.waiting, limits.queue)?;
                match timeout(limits.queue_wait, Arc::clone(&self.turns).acquire_owned()).await {
                    Ok(Ok(turn)) => turn,
                    Ok(Err(_)) | Err(_) => {
                        return Err(Ended::Refused(Busy::Wait {
                            wait: limits.queue_wait,
                            concurrency: u32::try_from(limits.concurrency).unwrap_or(u32::MAX),
                        }));
                    }
                }
            }
        };
        Ok((turn, workload.admission.enter().await?))
    }

    fn failed(&self, ended: &Ended) -> Failure {
        self.running.workload.report(ended);
        failure_of(ended)
    }
}

/// A call that waits, counted as long as this lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize, most: usize) -> Result<Self, Ended> {
        let waiting = Self(count);
        match count.fetch_add(1, Ordering::Relaxed) {
            before if before >= most => Err(Ended::Refused(Busy::Queue(most))),
            _ => Ok(waiting),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes the call to its end, or until the extension is stopped.
async fn run(
    running: Arc<Running>,
    call: Call,
    context: CallContext,
    permit: Permit,
) -> Result<Results, Failure> {
    let workload = &running.workload;
    // The time of who calls is not the extension's: with its own it is ended.
    let own = CallContext { deadline: 0, ..context };
    let caller = Caller::provider(workload.spec().limits.deadline, &own);
    let mut stop = workload.stop.subscribe();
    let answer = tokio::select! {
        biased;
        answer = workload.results(call, caller, permit) => answer,
        _ = stop.wait_for(|stop| *stop) => {
            return Err(failure(FailureKind::Unavailable, "the extension was stopped"));
        }
    };
    match answer {
        Ok(results) => {
            running.supervisor.answered();
            Ok(results)
        }
        Err(ended) => {
            workload.report(&ended);
            let failure = failure_of(&ended);
            if failure.kind == FailureKind::Trapped {
                running.supervisor.failed(&failure.message);
            }
            Err(failure)
        }
    }
}

/// How a workload hears that the extension did not answer.
fn failure_of(ended: &Ended) -> Failure {
    match ended.origin() {
        Ended::Arguments(failure) => failure.clone(),
        Ended::Provider(error) => failure(error.failure.kind, error.to_string()),
        Ended::Refused(_) => failure(FailureKind::Unavailable, ended.to_string()),
        _ => failure(FailureKind::Trapped, ended.to_string()),
    }
}
