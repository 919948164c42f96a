//! What a handler knows of the call it answers.

use std::{sync::Arc, time::Duration};

use backplane_abi::CallContext;
use backplane_wire::{Decode, Encode, Error, Form, Reader};
use tokio::time::Instant;

use crate::{
    Element, Failure, FutureReader, FutureWriter, Own, Resource, StreamReader, StreamWriter,
    Workload,
    host::{Caller, form, invoke, sealed::Sealed},
    resource::{Table, take_borrow, take_own},
    time,
};

/// What a binding has beside the author's state.
pub(crate) struct Core {
    pub(crate) workload: Workload,
}

/// The call that a handler answers: who calls, until when, and the resources.
pub struct Context {
    core: &'static Core,
    call: CallContext,
}

impl Context {
    #[inline]
    pub(crate) fn new(core: &'static Core, call: CallContext) -> Self {
        Self { core, call }
    }

    #[inline]
    pub(crate) fn table(&self) -> &'static Table {
        self.core.workload.table()
    }

    /// The workload that calls.
    pub fn workload(&self) -> &Workload {
        &self.core.workload
    }

    /// A new resource, to be returned to the workload.
    pub fn own<M: Resource>(&self, rep: M::Rep) -> Own<M> {
        Own::new(rep)
    }

    /// A new stream: the end to write, by a task of the extension's for one, and the one to return.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the host makes no streams.
    pub fn stream<T: Element>(&self) -> Result<(StreamWriter<T>, StreamReader<T>), Failure> {
        self.core.workload.stream()
    }

    /// A new future: the end to write, by a task of the extension's for one, and the one to return.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the host makes no futures.
    pub fn future<T: Encode + for<'a> Decode<'a>>(
        &self,
    ) -> Result<(FutureWriter<T>, FutureReader<T>), Failure> {
        self.core.workload.future()
    }

    /// The resources of this workload that are alive.
    pub fn live_resources(&self) -> usize {
        self.table().live()
    }

    /// The time left until the call's deadline; none if it has none. The host ends the call then; a
    /// handler need not, but may pass it on.
    pub fn time_left(&self) -> Option<Duration> {
        time::left(self.call.deadline)
    }

    /// The call's deadline, for `tokio::time::timeout_at`; none if it has none.
    pub fn deadline(&self) -> Option<Instant> {
        self.time_left().map(|left| Instant::now() + left)
    }

    /// The W3C trace id of the call; zeroes if it has none.
    pub fn trace_id(&self) -> [u8; 16] {
        self.call.trace_id
    }

    /// The W3C id of the caller's span; zeroes if it has none.
    pub fn span_id(&self) -> [u8; 8] {
        self.call.span_id
    }

    /// How many calls through the host led to this one; 0 for a workload's own.
    pub fn depth(&self) -> u32 {
        self.call.depth
    }

    /// How integers are written in this call's arguments and result. Only who encodes an answer
    /// itself ([`Encoded`](crate::Encoded)) needs it.
    #[inline]
    pub fn form(&self) -> Form {
        form(&self.call)
    }

    /// Calls a function that the calling workload exports, with this call's deadline and trace.
    /// `arguments` is a tuple of the parameters.
    ///
    /// # Errors
    ///
    /// The [`Failure`] that the host reports, or one that says that the result is of another type.
    pub async fn invoke<R: for<'a> Decode<'a>>(
        &self,
        interface: &str,
        function: &str,
        arguments: &(impl Encode + Sync),
    ) -> Result<R, Failure> {
        let (workload, call) = self.target();
        invoke(workload, interface, function, arguments, call).await
    }

    /// Reads a handle that the workload lends.
    #[doc(hidden)]
    #[inline]
    pub fn take_borrow<M: Resource>(&self, reader: &mut Reader<'_>) -> Result<Arc<M::Rep>, Error> {
        take_borrow::<M>(self.table(), reader)
    }

    /// Reads a handle that the workload gives away.
    #[doc(hidden)]
    pub fn take_own<M: Resource>(&self, reader: &mut Reader<'_>) -> Result<Arc<M::Rep>, Error> {
        take_own::<M>(self.table(), reader)
    }
}

impl Sealed for Context {}

impl Caller for Context {
    fn target(&self) -> (&Workload, CallContext) {
        let call = CallContext { depth: self.call.depth.saturating_add(1), ..self.call };
        (&self.core.workload, call)
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("workload", &self.core.workload)
            .field("call", &self.call)
            .finish()
    }
}
