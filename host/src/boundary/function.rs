//! A linked function: one call from lifted arguments to results that can be lowered.

use std::{sync::Arc, time::Duration};

use backplane_abi::Buffer;
use backplane_wire::{Reader, Writer};
use metrics::Counter;
use rustix::time::{ClockId, clock_gettime};
use smallvec::SmallVec;
use wasmtime::StoreContextMut;

use super::{
    FORM, StoreData, StoreState,
    call::{Answer, Failure, FailureKind},
    crossing,
    handles::{Binding, Guard, HandleError},
    lift::Lifted,
    message::Message,
    names::{self, Names, bad_answer},
    resource::ResourceEntry,
    shape::{Found, Shape},
    types::{FunctionType, Type},
};
use crate::{
    metric::{CALL_FAILURES, CALLS},
    watch::calls,
};

/// What a call needs, settled when the import was linked.
pub(super) struct Function {
    binding: Arc<Binding>,
    number: u32,
    id: u32,
    /// The binding's resource types that arguments may be of.
    resources: Arc<[ResourceEntry]>,
    /// Where the owned handles are in the result, if it may hold any.
    shape: Option<Shape>,
    /// Whether streams may be among the arguments, or among the results.
    pub(super) takes_streams: bool,
    pub(super) returns_streams: bool,
    /// The wire value of the result up to the text of its error case, where it has one that fits a
    /// failure of the provider.
    error_case: Option<Vec<u8>>,
    calls: Counter,
    names: Arc<Names>,
}

impl Function {
    pub(super) fn new(
        binding: &Arc<Binding>,
        number: u32,
        interface: &str,
        name: &str,
        ty: &FunctionType,
        resources: &Arc<[ResourceEntry]>,
        shape: Option<Shape>,
    ) -> Self {
        let names = Arc::new(Names {
            workload: binding.callee().workload().map(str::to_owned),
            provider: binding.callee().provider().to_owned(),
            interface: interface.to_owned(),
            function: name.to_owned(),
        });
        let id = names::register(&names);
        Self {
            binding: Arc::clone(binding),
            number,
            id,
            resources: Arc::clone(resources),
            shape,
            takes_streams: ty.params.iter().any(|(_, ty)| ty.has_stream() || ty.has_io()),
            returns_streams: ty.result.iter().any(|ty| ty.has_stream() || ty.has_io()),
            error_case: ty.result.as_ref().and_then(error_case),
            calls: metrics::counter!(
                CALLS.name,
                "provider" => names.provider.clone(),
                "interface" => names.interface.clone(),
                "function" => names.function.clone()
            ),
            names,
        }
    }

    /// Calls the provider. Results that are at hand are in the store then, ready to be lowered. `task` is
    /// the place of the task that calls, where the store serves several.
    #[inline]
    pub(super) fn call(
        self: &Arc<Self>,
        state: &mut StoreState,
        task: Option<usize>,
        args: Lifted,
    ) -> wasmtime::Result<Answer> {
        state.tally.count(self);
        let Lifted { mut message, handles } = args;
        let Some(handles) = handles else { return self.ask(state, task, message) };
        let handles = handles.resources;
        let mut given = SmallVec::<[Guard; 2]>::new();
        let own = (&*self.resources, &self.binding);
        let exchanged = state.handles.exchange(own, message.as_mut_slice(), &handles, &mut given);
        exchanged.map_err(|error| self.refused(error))?;
        let answer = self.ask(state, task, message);
        // The provider owns them now, whatever it answers.
        given.into_iter().for_each(Guard::surrender);
        answer
    }

    #[inline]
    fn ask(
        &self,
        state: &mut StoreState,
        task: Option<usize>,
        message: Message,
    ) -> wasmtime::Result<Answer> {
        let StoreState { context, tasks, exchange, .. } = state;
        let context = match task.and_then(|task| tasks.get(task)) {
            Some((_, context)) => context,
            None => context,
        };
        exchange.arguments = message.into_buffer();
        exchange.results.clear();
        let inside = calls::enter(self.id);
        let answer = self.binding.callee().call(self.number, context, exchange);
        drop(inside);
        exchange.arguments.clear();
        if let Answer::Ready = answer {
            self.receive(state)?;
        }
        Ok(answer)
    }

    /// Adds to the metric of its calls.
    pub(super) fn count(&self, calls: u64) {
        self.calls.increment(calls);
    }

    /// The results of a call whose answer was not at hand, or what the guest gets for its failure. `deadline` is that
    /// of whoever waits for it.
    pub(super) async fn end(&self, answer: Answer, deadline: u64) -> wasmtime::Result<Buffer> {
        let ended = match answer {
            Answer::Pending(later) => {
                let _waiting = self.binding.waits();
                let unanswered = Unanswered { function: self, deadline };
                let ended = calls::Later::new(self.id, *later).await;
                unanswered.answered();
                ended
            }
            Answer::Failed(failure) => Err(*failure),
            Answer::Ready => Err(Failure {
                kind: FailureKind::BadAnswer,
                message: "results are at hand, and were asked for twice".to_owned(),
            }),
        };
        ended.or_else(|failure| self.failed(failure))
    }

    /// Gives the streams among the arguments channels, whose ends the provider gets in their place. Comes before
    /// the call, while the store is at hand, where there may be any.
    #[cold]
    pub(super) fn leave<T: StoreData>(
        &self,
        store: &mut StoreContextMut<'_, T>,
        args: &mut Lifted,
    ) -> wasmtime::Result<()> {
        let Some(handles) = &mut args.handles else { return Ok(()) };
        let left = crossing::leave(store, &self.binding, &mut args.message, handles);
        left.map_err(|error| self.names.error(error))
    }

    /// Lets the resources and streams among the results into the store, where streams may be among them: it is at
    /// hand now. The results are then ready to be lowered.
    #[cold]
    pub(super) fn enter<T: StoreData>(
        &self,
        store: &mut StoreContextMut<'_, T>,
    ) -> wasmtime::Result<()> {
        let Some(shape) = self.shape.as_ref().filter(|_| self.returns_streams) else {
            return Ok(());
        };
        let message = std::mem::take(&mut store.data_mut().boundary().exchange.results);
        let entered = crossing::enter(store, &self.binding, shape, &message, None);
        let state = store.data_mut().boundary();
        state.exchange.results = message;
        let entered = entered.map_err(|error| bad_answer(self.id, error))?;
        (state.returned, state.streams) = (entered.handles, entered.streams);
        Ok(())
    }

    /// Keeps results that came later in the store, ready to be lowered.
    pub(super) fn received(&self, state: &mut StoreState, message: Buffer) -> wasmtime::Result<()> {
        state.exchange.results = message;
        self.receive(state)
    }

    /// Makes the results in the store ready to be lowered: the handles that the provider returned enter
    /// its table.
    #[inline]
    fn receive(&self, state: &mut StoreState) -> wasmtime::Result<()> {
        state.function = self.id;
        match &self.shape {
            Some(shape) if !self.returns_streams => self.receive_handles(shape, state),
            Some(_) | None => Ok(()),
        }
    }

    fn receive_handles(&self, shape: &Shape, state: &mut StoreState) -> wasmtime::Result<()> {
        let StoreState { exchange, handles, returned, .. } = state;
        let mut guards = SmallVec::<[Guard; 2]>::new();
        let mut found = |found| {
            if let Found::Own(resource, handle) = found {
                guards.push(Guard::new(Arc::clone(&self.binding), resource, handle));
            }
        };
        let mut reader = Reader::new(&exchange.results, FORM);
        if let Err(error) = shape.handles(&mut reader, &mut found) {
            return Err(bad_answer(self.id, error.into()));
        }
        returned.clear();
        for guard in guards {
            let rep = handles.insert(guard).map_err(|error| self.refused(error))?;
            returned.push(rep);
        }
        Ok(())
    }

    /// What the guest gets for a failure of its provider: its interface's error case where it has one
    /// that fits, else the error that traps it.
    #[cold]
    pub(super) fn failed(&self, failure: Failure) -> wasmtime::Result<Buffer> {
        self.tell(&failure);
        let fits = match failure.kind {
            FailureKind::BadArguments | FailureKind::BadAnswer | FailureKind::Unimplemented => {
                false
            }
            FailureKind::Other
            | FailureKind::Panicked
            | FailureKind::Trapped
            | FailureKind::Unavailable
            | FailureKind::Deadline
            | FailureKind::Denied => true,
        };
        match &self.error_case {
            Some(prefix) if fits => {
                let mut writer = Writer::append_to(prefix.clone(), FORM);
                // What went wrong inside the provider is for the operator alone.
                writer.string(&failure.kind.to_string());
                Ok(Buffer::from(writer.into_vec()))
            }
            Some(_) | None => Err(self.error(failure)),
        }
    }

    /// Tells the operator of a failure of the provider.
    #[cold]
    fn tell(&self, failure: &Failure) {
        let Names { provider, interface, function, .. } = &*self.names;
        self.names.note(failure.kind);
        metrics::counter!(
            CALL_FAILURES.name,
            "provider" => provider.clone(),
            "interface" => interface.clone(),
            "function" => function.clone(),
            "kind" => failure.kind.label()
        )
        .increment(1);
        tracing::warn!(%provider, %interface, %function, kind = failure.kind.label(), "{failure}");
    }

    /// The error that traps a guest for a handle that it may not use.
    #[cold]
    fn refused(&self, error: HandleError) -> wasmtime::Error {
        self.error(Failure { kind: FailureKind::BadArguments, message: error.to_string() })
    }

    fn error(&self, failure: Failure) -> wasmtime::Error {
        self.names.error(failure)
    }
}

/// A call that its provider has not answered. Dropped when whoever waits for it is ended: where that is for its deadline,
/// the operator learns which call it was.
struct Unanswered<'a> {
    function: &'a Function,
    deadline: u64,
}

impl Unanswered<'_> {
    fn answered(mut self) {
        self.deadline = 0;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.deadline == 0 {
            return;
        }
        let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
        if now >= Duration::from_nanos(self.deadline) {
            self.function.tell(&Failure {
                kind: FailureKind::Deadline,
                message: "it had not answered when its caller was ended".to_owned(),
            });
        }
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        names::forget(self.id);
    }
}

/// The wire value of a result's error case up to its text: for `result<_, string>`, and for
/// `result<_, E>` where `E` has a case `other(string)`.
fn error_case(result: &Type) -> Option<Vec<u8>> {
    let Type::Result(_, Some(error)) = result else { return None };
    let mut writer = Writer::new(FORM);
    writer.bool(true);
    match &**error {
        Type::String => {}
        Type::Variant(cases) => {
            let case = cases
                .iter()
                .position(|(name, ty)| name == "other" && matches!(ty, Some(Type::String)))?;
            writer.discriminant(u32::try_from(case).ok()?);
        }
        _ => return None,
    }
    Some(writer.into_vec())
}
