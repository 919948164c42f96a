//! Component extensions: providers that are components, each in stores of its own.
//!
//! One is a workload that other workloads call: it has its own config, grants, links and limits, and nothing of
//! whoever calls it. `released` are the resources that nobody holds any more, `binding` is what one workload
//! has of it, `supervisor` keeps one that fails from being started over and over.

mod binding;
mod released;
mod supervisor;

use std::sync::Arc;

use futures::future::{BoxFuture, ready};
use wasmtime::component::Linker;

pub(super) use released::Released;

use self::{binding::BoundWorkload, supervisor::Supervisor};
use super::{Loaded, PrepareError, State, Workload};
use crate::{
    boundary::{
        Binding,
        invoke::{Export, ExportError, Served},
        types::ResourceName,
    },
    name::{InterfaceName, ProviderName},
    provider::{BindError, Bound, Callbacks, Offer, OfferedFunction, Provider, WorkloadIdentity},
};

/// Why a component cannot be an extension.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionError {
    /// It cannot be made ready.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// It has nothing to provide.
    #[error(
        "the extension `{0}` exports no interface; expected a component that exports those that it provides"
    )]
    Nothing(ProviderName),
    /// A function is not where its types say.
    #[error("the extension `{extension}` has no function `{interface}#{function}`; build it again")]
    Missing {
        /// The extension.
        extension: ProviderName,
        /// The interface.
        interface: InterfaceName,
        /// The function.
        function: String,
    },
    /// A type does not cross.
    #[error("the extension `{extension}` cannot provide `{interface}#{function}`: {source}")]
    Uncallable {
        /// The extension.
        extension: ProviderName,
        /// The interface.
        interface: InterfaceName,
        /// The function.
        function: String,
        /// Why.
        source: ExportError,
    },
    /// It makes resources, which live in one instance.
    #[error(
        "the extension `{0}` makes resources, which live in one instance, and `extensions.{0}.instances.most` asks for more; expected 1; remove the setting"
    )]
    Instances(ProviderName),
}

/// A component extension, ready to be bound.
pub struct Extension {
    name: ProviderName,
    offers: Vec<Offer>,
    running: Arc<Running>,
}

/// What its bindings share.
struct Running {
    workload: Arc<Workload>,
    released: Arc<Released>,
    supervisor: Supervisor,
}

impl Extension {
    /// Makes an extension of a component that is linked. `offers` are what it exports, by its types.
    ///
    /// # Errors
    ///
    /// [`ExtensionError`] when it cannot provide them.
    pub fn start(
        name: &ProviderName,
        loaded: Loaded,
        linker: &Linker<State>,
        offers: Vec<Offer>,
    ) -> Result<Self, ExtensionError> {
        if offers.is_empty() {
            return Err(ExtensionError::Nothing(name.clone()));
        }
        let released = Released::new(name);
        let exports = exports(name, &loaded, &offers, &released)?;
        let makes_resources = exports.iter().any(Export::has_own);
        let most = loaded.spec().instances.most.map_or(usize::MAX, |most| most.get());
        if makes_resources && most > 1 {
            return Err(ExtensionError::Instances(name.clone()));
        }
        let workload = Arc::new(loaded.serving(linker, exports, Arc::clone(&released))?);
        released.of(&workload);
        let supervisor = Supervisor::new(name);
        let running = Arc::new(Running { workload, released, supervisor });
        Ok(Self { name: name.clone(), offers, running })
    }
}

/// What it provides, each function at the place that is its number.
fn exports(
    name: &ProviderName,
    loaded: &Loaded,
    offers: &[Offer],
    released: &Arc<Released>,
) -> Result<Vec<Export<State>>, ExtensionError> {
    let component = loaded.component();
    let binding = Binding::new(Arc::<Released>::clone(released));
    let resources: Vec<_> = offers.iter().flat_map(made).collect();
    let mut all: Vec<(&Offer, &OfferedFunction)> =
        offers.iter().flat_map(|o| o.functions.iter().map(move |f| (o, f))).collect();
    all.sort_by_key(|(_, function)| function.number);
    let export = |(offer, function): (&Offer, &OfferedFunction)| {
        let interface = offer.interface.to_string();
        let place = component.get_export_index(None, &interface);
        let index =
            place.and_then(|place| component.get_export_index(Some(&place), &function.name));
        let missing = || ExtensionError::Missing {
            extension: name.clone(),
            interface: offer.interface.clone(),
            function: function.name.clone(),
        };
        let served = Served {
            interface: &interface,
            function: &function.name,
            ty: &function.ty,
            resources: &resources,
            binding: &binding,
        };
        let export = Export::served(index.ok_or_else(missing)?, &served);
        export.map_err(|source| ExtensionError::Uncallable {
            extension: name.clone(),
            interface: offer.interface.clone(),
            function: function.name.clone(),
            source,
        })
    };
    all.into_iter().map(export).collect()
}

/// The resource types that an interface defines, each with its number.
fn made(offer: &Offer) -> impl Iterator<Item = (ResourceName, u32)> + '_ {
    offer.resources.iter().map(|resource| {
        let interface = Some(offer.interface.clone());
        (ResourceName { interface, name: resource.name.clone() }, resource.number)
    })
}

impl Provider for Extension {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn offers(&self) -> &[Offer] {
        &self.offers
    }

    fn bind(
        &self,
        workload: &WorkloadIdentity,
        config: &serde_json::Value,
        _: &Arc<Callbacks>,
    ) -> Bound {
        if config.as_object().is_some_and(|config| !config.is_empty()) {
            let name = &self.name;
            let message = format!(
                "a component extension takes no config of a link; set it for all in `[extensions.{name}.config]`"
            );
            return Box::pin(ready(Err(BindError(message))));
        }
        let bound = BoundWorkload::new(&self.name, &workload.name, &self.running);
        Box::pin(ready(Ok(Arc::new(bound) as Arc<_>)))
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        let running = Arc::clone(&self.running);
        Box::pin(async move { running.workload.end().await })
    }
}
