//! Providers: whatever answers calls on an interface.
//!
//! A provider is loaded from the host's config, says which interfaces it offers, and is bound to each
//! workload that links to it. Nothing here knows what any interface is for.

pub mod calls;
pub mod folder;
mod host_api;
mod link_error;
pub mod metadata;
mod native;
pub mod remote;
pub mod resolve;
pub mod set;
pub mod world;

pub use calls::Callbacks;
pub use native::NativeConfig;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;

use crate::{
    boundary::{call::Callee, link::ResourceIdentity, types::FunctionType},
    name::{InterfaceName, ProviderName, WorkloadName},
};

/// Answers calls on the interfaces that it offers.
///
/// The host makes one for each that the config enables, when it starts; binds it to each workload that
/// links to it, when the workload starts; and shuts it down when the host stops.
pub trait Provider: Send + Sync + 'static {
    /// The name that the config gives it.
    fn name(&self) -> &ProviderName;

    /// The interfaces that it provides. The same as long as it lives.
    fn offers(&self) -> &[Offer];

    /// The interfaces that it calls of the workloads that are bound to it. The same as long as it lives.
    fn calls(&self) -> &[Offer] {
        &[]
    }

    /// Where it runs. The same as long as it lives.
    fn place(&self) -> Place {
        Place::InProcess
    }

    /// Makes a binding for a workload. Called once for each link of the workload, before its first
    /// instance. Dropping the binding ends it. `callbacks` are the way back into the workload.
    fn bind(
        &self,
        workload: &WorkloadIdentity,
        config: &serde_json::Value,
        callbacks: &Arc<Callbacks>,
    ) -> Bound;

    /// Ends the provider. Called once, after its last binding was dropped.
    fn shutdown(&self) -> BoxFuture<'static, ()>;
}

/// Where a provider runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the host's process.
    InProcess,
    /// Outside it.
    Network {
        /// What it is reached over.
        transport: &'static str,
        /// Where it is.
        address: String,
        /// How long a call of it may take.
        deadline: Duration,
    },
}

/// What [`Provider::bind`] answers: the binding, or the reason for refusing it.
pub type Bound = BoxFuture<'static, Result<Arc<dyn Callee>, BindError>>;

/// A provider that refused a workload, with its reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BindError(pub String);

/// A workload as providers know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadIdentity {
    /// Its name.
    pub name: WorkloadName,
}

/// An interface that a provider offers.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The interface.
    pub interface: InterfaceName,
    /// Its functions.
    pub functions: Vec<OfferedFunction>,
    /// The resource types that it defines.
    pub resources: Vec<OfferedResource>,
}

/// A function of an [`Offer`].
#[derive(Debug, Clone)]
pub struct OfferedFunction {
    /// Its name in the component model, such as `[method]cell.get`.
    pub name: String,
    /// Its type.
    pub ty: FunctionType,
    /// Its number at the provider.
    pub number: u32,
}

/// A resource type of an [`Offer`].
#[derive(Debug, Clone)]
pub struct OfferedResource {
    /// Its name in WIT.
    pub name: String,
    /// Its number at the provider.
    pub number: u32,
    /// What tells it from every other resource type in the process.
    pub identity: ResourceIdentity,
}
