//! The trait that an author implements.

use std::future::Future;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{Failure, Host, Workload};

/// An extension: `create`, then for each workload `bind`, its calls, `unbind`, and at last `shutdown`.
///
/// The calls themselves go to [`Binding`](Self::Binding), which implements the handler traits that
/// [`generate!`](crate::generate) makes. Every method runs in the extension's own tokio runtime, and
/// a panic in one of them is a [`Failure`] of that step.
pub trait Extension: Sized + Send + Sync + 'static {
    /// The extension's own config; [`NoConfig`](crate::NoConfig) if it has none. Write
    /// [`#[backplane_sdk::config]`](crate::config) on it: an unknown key is then an error that names
    /// it and the keys there are. (With plain derives, add `#[serde(deny_unknown_fields)]`.)
    type Config: DeserializeOwned + JsonSchema + Send + 'static;

    /// What a link says to a binding; [`NoConfig`](crate::NoConfig) if nothing.
    type BindingConfig: DeserializeOwned + JsonSchema + Send + 'static;

    /// A workload's state, which answers its calls: implements the generated `Handler` traits.
    type Binding: Send + Sync + 'static;

    /// Makes an instance. Called once for each configured extension, when the host starts; nothing
    /// is called before it. May take its time: it has no deadline of its own.
    ///
    /// # Errors
    ///
    /// A [`Failure`] keeps the host from starting, with its message.
    fn create(
        config: Self::Config,
        host: Host,
    ) -> impl Future<Output = Result<Self, Failure>> + Send;

    /// Makes the binding of a workload. Called once for each workload that is linked to the
    /// extension, when it starts; several at the same time.
    ///
    /// # Errors
    ///
    /// A [`Failure`] refuses the workload, with its message.
    fn bind(
        &self,
        workload: Workload,
        config: Self::BindingConfig,
    ) -> impl Future<Output = Result<Self::Binding, Failure>> + Send;

    /// Ends a binding. Called once for each, when its workload has stopped, its last call has ended
    /// and its last resource was dropped. By default the binding is dropped.
    fn unbind(&self, binding: Self::Binding) -> impl Future<Output = ()> + Send {
        async move { drop(binding) }
    }

    /// Ends the instance. Called once, when the host stops and the last binding has ended. By
    /// default the instance is dropped.
    fn shutdown(self) -> impl Future<Output = ()> + Send {
        async move { drop(self) }
    }
}
