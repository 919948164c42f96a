//! What a provider calls of the workloads that are bound to it: from its world's imports to the call.
//!
//! A provider's world imports the interfaces that it calls of a workload. Which of them the workload exports is
//! settled when it is linked; from then on a binding's [`Callbacks`] are the way back into it.

use std::sync::{Arc, Weak};

use backplane_abi::{Buffer, CallContext};
use futures::future::BoxFuture;
use tokio::sync::watch;
use wasmtime::component::ComponentExportIndex;

use super::{Offer, Provider, link_error::LinkError};
use crate::{
    boundary::{
        call::{Failure, FailureKind},
        exports::ExportedInterface,
        types::FunctionType,
    },
    name::{InterfaceName, ProviderName},
};

/// A workload that is ready: runs the functions that it exports.
pub trait Callable: Send + Sync + 'static {
    /// Calls a function by the number that it was linked with. The arguments are wire values, and the
    /// resources among them the workload's from here on; the results are wire values as well. Dropping the
    /// future cancels the call. It may be polled on any thread.
    fn call(
        self: Arc<Self>,
        function: usize,
        arguments: Buffer,
        context: CallContext,
    ) -> BoxFuture<'static, Result<Buffer, Failure>>;
}

/// An interface of a component's that a provider calls.
#[derive(Clone)]
pub(super) struct Calls {
    /// As the provider names it.
    pub(super) interface: InterfaceName,
    pub(super) functions: Vec<CalledFunction>,
}

/// A function of it.
#[derive(Clone)]
pub(super) struct CalledFunction {
    pub(super) name: String,
    pub(super) ty: FunctionType,
    pub(super) index: ComponentExportIndex,
}

/// Whether a provider calls an interface that a component exports, so far as their names tell.
pub(super) fn calls(provider: &dyn Provider, export: &ExportedInterface) -> bool {
    provider.calls().iter().any(|wanted| is_it(wanted, export))
}

fn is_it(wanted: &Offer, export: &ExportedInterface) -> bool {
    export.name.serves(&wanted.interface) || wanted.interface.serves(&export.name)
}

/// What a provider calls of an interface that a component exports: under each name by which it does, every
/// function with the type that both give it.
pub(super) fn settle(
    provider: &dyn Provider,
    export: &ExportedInterface,
) -> Result<Vec<Calls>, LinkError> {
    let mut fitting = Vec::new();
    let mut first_error = None;
    for wanted in provider.calls().iter().filter(|wanted| is_it(wanted, export)) {
        match functions(wanted, export, provider.name()) {
            Ok(functions) => {
                fitting.push(Calls { interface: wanted.interface.clone(), functions });
            }
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    match first_error {
        Some(error) if fitting.is_empty() => Err(error),
        Some(_) | None => Ok(fitting),
    }
}

fn functions(
    wanted: &Offer,
    export: &ExportedInterface,
    provider: &ProviderName,
) -> Result<Vec<CalledFunction>, LinkError> {
    let function = |wants: &super::OfferedFunction| {
        let has = export.functions.iter().find(|function| function.name == wants.name);
        let Some(has) = has else {
            return Err(LinkError::NoExportedFunction {
                export: export.name.clone(),
                function: wants.name.clone(),
                provider: provider.clone(),
            });
        };
        let ty = has.ty.as_ref().map_err(|unsupported| LinkError::Uncallable {
            export: export.name.clone(),
            function: wants.name.clone(),
            provider: provider.clone(),
            reason: unsupported.to_string(),
        })?;
        match FunctionType::mismatch(&wants.ty, ty) {
            None => Ok(CalledFunction { name: has.name.clone(), ty: ty.clone(), index: has.index }),
            Some(mismatch) => Err(LinkError::ExportMismatch {
                export: export.name.clone(),
                function: wants.name.clone(),
                provider: provider.clone(),
                mismatch: Box::new(mismatch),
            }),
        }
    };
    wanted.functions.iter().map(function).collect()
}

/// The way from a provider back into a workload that is bound to it.
pub struct Callbacks {
    /// Of each interface that the provider calls and the workload exports, as the provider names it, its
    /// functions with their numbers.
    interfaces: Vec<(String, Vec<(String, usize)>)>,
    /// The workload, once it is ready. Its end ends the wait.
    workload: watch::Receiver<Option<Weak<dyn Callable>>>,
}

/// Says that a workload is ready to be called.
pub(super) type Ready = watch::Sender<Option<Weak<dyn Callable>>>;

impl Callbacks {
    /// Those for a binding. `next` is the number of the next function that a provider of the workload calls.
    pub(super) fn new(calls: &[Calls], next: &mut usize) -> (Arc<Self>, Ready) {
        let (ready, workload) = watch::channel(None);
        let mut number = || {
            let number = *next;
            *next += 1;
            number
        };
        let interfaces = calls.iter().map(|calls| {
            let functions = calls.functions.iter();
            let functions = functions.map(|function| (function.name.clone(), number()));
            (calls.interface.to_string(), functions.collect())
        });
        let interfaces = interfaces.collect();
        (Arc::new(Self { interfaces, workload }), ready)
    }

    /// Those of a workload that exports nothing that a provider calls.
    pub fn none() -> Arc<Self> {
        Self::new(&[], &mut 0).0
    }

    /// Whether the workload exports an interface that the provider's world imports by that name.
    pub fn has(&self, interface: &str) -> bool {
        self.interfaces.iter().any(|(name, _)| name == interface)
    }

    /// Calls a function. A workload that is starting is called when it is ready.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when there is no such function, or the workload has ended or could not answer.
    pub async fn call(
        self: Arc<Self>,
        interface: String,
        function: String,
        arguments: Buffer,
        context: CallContext,
    ) -> Result<Buffer, Failure> {
        let number = self.number(&interface, &function)?;
        let workload = match self.ready() {
            Some(workload) => workload,
            None => self.wait().await?,
        };
        workload.call(number, arguments, context).await
    }

    fn number(&self, interface: &str, function: &str) -> Result<usize, Failure> {
        let functions = self.interfaces.iter().find(|(name, _)| name == interface);
        let functions = functions.map(|(_, functions)| functions.as_slice());
        let found = functions.and_then(|all| all.iter().find(|(name, _)| name == function));
        match (found, functions) {
            (Some((_, number)), _) => Ok(*number),
            (None, Some(_)) => {
                Err(unimplemented(format!("`{interface}` has no function `{function}`")))
            }
            (None, None) => Err(unimplemented(format!(
                "the workload does not export `{interface}`, or the extension's world does not import it"
            ))),
        }
    }

    fn ready(&self) -> Option<Arc<dyn Callable>> {
        self.workload.borrow().as_ref().and_then(Weak::upgrade)
    }

    async fn wait(&self) -> Result<Arc<dyn Callable>, Failure> {
        let mut workload = self.workload.clone();
        // Fails when the workload ends before it was ready.
        drop(workload.wait_for(Option::is_some).await);
        self.ready().ok_or_else(|| Failure {
            kind: FailureKind::Unavailable,
            message: "the workload has ended".to_owned(),
        })
    }
}

fn unimplemented(message: String) -> Failure {
    Failure { kind: FailureKind::Unimplemented, message }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Answers with what it was given, and its function's number.
    struct Echo;

    impl Callable for Echo {
        fn call(
            self: Arc<Self>,
            function: usize,
            arguments: Buffer,
            _: CallContext,
        ) -> BoxFuture<'static, Result<Buffer, Failure>> {
            let mut bytes = arguments.into_vec();
            bytes.push(function as u8);
            Box::pin(async move { Ok(bytes.into()) })
        }
    }

    fn callbacks() -> (Arc<Callbacks>, Ready) {
        let (ready, workload) = watch::channel(None);
        let interfaces = vec![("a:b/c@1.0.0".to_owned(), vec![("f".to_owned(), 7)])];
        (Arc::new(Callbacks { interfaces, workload }), ready)
    }

    fn call(
        callbacks: &Arc<Callbacks>,
        function: &str,
    ) -> impl Future<Output = Result<Vec<u8>, Failure>> + use<> {
        let (interface, function) = ("a:b/c@1.0.0".to_owned(), function.to_owned());
        let call =
            Arc::clone(callbacks).call(interface, function, vec![1].into(), CallContext::default());
        async move { call.await.map(Buffer::into_vec) }
    }

    #[tokio::test]
    async fn a_workload_that_is_starting_is_called_when_it_is_ready() {
        let (callbacks, ready) = callbacks();
        let mut early = Box::pin(call(&callbacks, "f"));
        let waited = tokio::time::timeout(Duration::from_millis(5), &mut early).await;
        assert!(waited.is_err(), "it was called before it was there");
        let workload: Arc<dyn Callable> = Arc::new(Echo);
        ready.send_replace(Some(Arc::downgrade(&workload)));
        assert_eq!(early.await, Ok(vec![1, 7]));
        assert_eq!(call(&callbacks, "f").await, Ok(vec![1, 7]));
    }

    #[tokio::test]
    async fn one_that_has_ended_or_never_began_is_a_failure() {
        let (callbacks, ready) = callbacks();
        let early = call(&callbacks, "f");
        drop(ready);
        assert_eq!(early.await.unwrap_err().kind, FailureKind::Unavailable);
        let (callbacks, ready) = self::callbacks();
        let workload: Arc<dyn Callable> = Arc::new(Echo);
        ready.send_replace(Some(Arc::downgrade(&workload)));
        drop(workload);
        assert_eq!(call(&callbacks, "f").await.unwrap_err().kind, FailureKind::Unavailable);
    }

    #[tokio::test]
    async fn what_it_does_not_export_is_unimplemented() {
        let (callbacks, _ready) = callbacks();
        assert!(callbacks.has("a:b/c@1.0.0") && !callbacks.has("a:b/d@1.0.0"));
        let failure = call(&callbacks, "g").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unimplemented);
        assert!(failure.message.contains("no function `g`"), "{failure}");
    }
}
