//! Which provider serves which import: settled before a workload starts, and never guessed.

use std::sync::Arc;

use wasmtime::component::Linker;

pub use super::link_error::LinkError;
use super::{
    Offer, Provider, WorkloadIdentity,
    calls::{self, Callable, Callbacks, CalledFunction, Calls, Ready},
    link_error::enabled,
    set::ProviderSet,
};
use crate::{
    boundary::{
        Binding, StoreData,
        exports::ExportedInterface,
        imports::Import,
        invoke::{Called, Export},
        link::{LinkedImport, LinkedResource, define},
        types::{FunctionType, ResourceName},
    },
    name::{InterfaceName, ProviderName},
    workload::spec::{Link, LinkTarget},
};

/// The imports of a component, each with the provider that is to serve it.
pub struct Plan {
    joints: Vec<Joint>,
    callers: Vec<Caller>,
}

struct Joint {
    import: Import,
    provider: Arc<dyn Provider>,
    functions: Vec<(String, FunctionType, u32)>,
    /// The resource types that the import defines, as the provider makes them.
    defines: Vec<LinkedResource>,
    /// Those and the ones that it uses of other imports.
    resources: Vec<LinkedResource>,
    config: serde_json::Value,
}

/// A provider that calls what a component exports.
struct Caller {
    provider: Arc<dyn Provider>,
    config: serde_json::Value,
    calls: Vec<Calls>,
}

/// Settles who serves each import of a component, and what they call of its `exports`. `links` are the
/// workload's own, `defaults` the host's.
///
/// # Errors
///
/// Every [`LinkError`] there is, not the first alone.
pub fn resolve(
    imports: Vec<Import>,
    exports: &[ExportedInterface],
    providers: &ProviderSet,
    links: &[Link],
    defaults: &[Link],
) -> Result<Plan, Vec<LinkError>> {
    let (mut joints, mut errors) = (Vec::new(), Vec::new());
    for import in imports {
        match joint(import, providers, links, defaults) {
            Ok(joint) => joints.push(joint),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        errors = join_groups(&mut joints);
    }
    let mut callers = Vec::new();
    for export in exports {
        if let Err(error) = call(export, &joints, providers, links, defaults, &mut callers) {
            errors.push(error);
        }
    }
    if errors.is_empty() { Ok(Plan { joints, callers }) } else { Err(errors) }
}

/// Settles who calls an interface that the component exports: whoever a link says, else the only provider
/// that does. An interface that nobody calls is nobody's fault.
fn call(
    export: &ExportedInterface,
    joints: &[Joint],
    providers: &ProviderSet,
    links: &[Link],
    defaults: &[Link],
    callers: &mut Vec<Caller>,
) -> Result<(), LinkError> {
    let name = export.name.to_string();
    let link = |links| best_link(&name, &export.name, links);
    let candidates: Vec<_> =
        providers.iter().filter(|provider| calls::calls(&***provider, export)).collect();
    // One that is for an import as well says nothing of the export, where its provider does not call that.
    let is_for_import = |link: &Link| {
        let mut imports = joints.iter().map(|joint| &joint.import);
        imports.any(|import| rank(link, &import.name, &import.interface).is_some())
    };
    let linked = match link(links).or_else(|| link(defaults)) {
        Some(link) => {
            let is_it = |provider: &&&Arc<dyn Provider>| *provider.name() == link.provider;
            match candidates.iter().find(is_it) {
                Some(provider) => Some((Arc::clone(provider), link.config.clone())),
                None if is_for_import(link) => None,
                None if providers.get(&link.provider).is_none() => {
                    return Err(LinkError::UnknownProvider {
                        import: name,
                        provider: link.provider.clone(),
                        known: providers.names(),
                    });
                }
                None => {
                    return Err(LinkError::NotCalled {
                        export: export.name.clone(),
                        provider: link.provider.clone(),
                        candidates: candidates.iter().map(|p| p.name().clone()).collect(),
                    });
                }
            }
        }
        None => None,
    };
    let (provider, config) = match (linked, candidates.as_slice()) {
        (Some(linked), _) => linked,
        (None, []) => return Ok(()),
        (None, [only]) => (Arc::clone(only), config_of(export, &***only, joints)?),
        (None, [first, ..]) => {
            return Err(LinkError::AmbiguousCaller {
                export: export.name.clone(),
                candidates: candidates.iter().map(|provider| provider.name().clone()).collect(),
                first: first.name().clone(),
            });
        }
    };
    let calls = calls::settle(&*provider, export)?;
    let key = (provider.name(), &config);
    match callers.iter_mut().find(|caller| (caller.provider.name(), &caller.config) == key) {
        Some(caller) => caller.calls.extend(calls),
        None => callers.push(Caller { provider, config, calls }),
    }
    Ok(())
}

/// With which config a provider calls that is linked to imports of the component as well: the same.
fn config_of(
    export: &ExportedInterface,
    provider: &dyn Provider,
    joints: &[Joint],
) -> Result<serde_json::Value, LinkError> {
    let mut same = joints.iter().filter(|joint| joint.provider.name() == provider.name());
    let config = same.next().map_or_else(no_config, |joint| joint.config.clone());
    if same.any(|joint| joint.config != config) {
        return Err(LinkError::AmbiguousCaller {
            export: export.name.clone(),
            candidates: vec![provider.name().clone()],
            first: provider.name().clone(),
        });
    }
    Ok(config)
}

/// The config where there is no link: that of a link without one, so that both share a binding.
fn no_config() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

fn joint(
    import: Import,
    providers: &ProviderSet,
    links: &[Link],
    defaults: &[Link],
) -> Result<Joint, LinkError> {
    let link = |links| best_link(&import.name, &import.interface, links);
    let link = link(links).or_else(|| link(defaults));
    let (provider, config) = match link {
        Some(link) => (linked(&import, link, providers)?, link.config.clone()),
        None => (only_provider(&import, providers)?, no_config()),
    };
    let (offer, functions) = matching_offer(&import, &*provider)?;
    let defines = import
        .resources
        .iter()
        .map(|name| {
            linked_resource(offer, name).ok_or_else(|| LinkError::NoResource {
                import: import.to_string(),
                resource: name.clone(),
                provider: provider.name().clone(),
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Joint { functions, defines, resources: Vec::new(), provider, config, import })
}

/// The most specific link for an import or export: by its own name, by interface and version, by interface, by
/// package.
fn best_link<'a>(name: &str, interface: &InterfaceName, links: &'a [Link]) -> Option<&'a Link> {
    // The first of equals: `max_by_key` would take the last.
    links
        .iter()
        .rev()
        .filter_map(|link| rank(link, name, interface).map(|rank| (rank, link)))
        .max_by_key(|(rank, _)| *rank)
        .map(|(_, link)| link)
}

/// How specific a link is for an import or export; none if it is not for it.
fn rank(link: &Link, name: &str, interface: &InterfaceName) -> Option<u8> {
    match &link.target {
        LinkTarget::Named(target) if target == name => Some(3),
        LinkTarget::Interface(target) if target == interface => Some(2),
        LinkTarget::Interface(target)
            if target.version().is_none() && target.is_same_interface(interface) =>
        {
            Some(1)
        }
        LinkTarget::Package(package) if package == interface.package() => Some(0),
        LinkTarget::Named(_) | LinkTarget::Interface(_) | LinkTarget::Package(_) => None,
    }
}

/// The links of a workload's own that are for nothing that its component imports or exports: each is a mistake, for
/// what it was meant for is linked without it.
pub fn unused(imports: &[Import], exports: &[ExportedInterface], links: &[Link]) -> Vec<LinkError> {
    let own = imports.iter().map(|import| (import.name.clone(), &import.interface));
    let exported = exports.iter().map(|export| (export.name.to_string(), &export.name));
    let all: Vec<_> = own.chain(exported).collect();
    let is_used =
        |link: &&Link| all.iter().any(|(name, interface)| rank(link, name, interface).is_some());
    let unused = links.iter().filter(|link| !is_used(link));
    unused
        .map(|link| LinkError::Unused {
            target: match &link.target {
                LinkTarget::Package(package) => format!("target = \"{package}\""),
                LinkTarget::Interface(interface) => format!("target = \"{interface}\""),
                LinkTarget::Named(name) => format!("named = \"{name}\""),
            },
            provider: link.provider.clone(),
            known: all.iter().map(|(name, _)| name.clone()).collect(),
        })
        .collect()
}

fn linked(
    import: &Import,
    link: &Link,
    providers: &ProviderSet,
) -> Result<Arc<dyn Provider>, LinkError> {
    providers.get(&link.provider).cloned().ok_or_else(|| LinkError::UnknownProvider {
        import: import.to_string(),
        provider: link.provider.clone(),
        known: providers.names(),
    })
}

fn only_provider(import: &Import, providers: &ProviderSet) -> Result<Arc<dyn Provider>, LinkError> {
    let serving: Vec<_> = providers
        .iter()
        .filter(|provider| provider.offers().iter().any(|o| o.interface.serves(&import.interface)))
        .collect();
    // Types decide where names do not.
    let fitting: Vec<_> =
        serving.iter().filter(|provider| matching_offer(import, &****provider).is_ok()).collect();
    match (serving.as_slice(), fitting.as_slice()) {
        ([], _) => {
            let (remedy, enable) = remedy(import, providers);
            Err(LinkError::NoProvider { import: import.to_string(), remedy, enable })
        }
        (_, [one]) => Ok(Arc::clone(one)),
        // The types are wrong everywhere; with one provider, the mismatch is the better message.
        ([one], []) => Ok(Arc::clone(one)),
        ([first, ..], _) => Err(LinkError::Ambiguous {
            import: import.to_string(),
            key: import.link_key(),
            candidates: serving.iter().map(|provider| provider.name().clone()).collect(),
            first: first.name().clone(),
        }),
    }
}

/// What would mend a missing provider: an extension that lies there not enabled, another version.
fn remedy(import: &Import, providers: &ProviderSet) -> (String, Option<String>) {
    let lying = providers.available().iter().find_map(|found| {
        let library = found.library.as_ref().ok()?;
        let offers = library.offers.iter().any(|o| o.interface.serves(&import.interface));
        offers.then_some((library, &found.file))
    });
    if let Some((library, file)) = lying {
        let name = &library.metadata.name;
        let enabled = enabled(&providers.names(), name);
        let remedy = format!(
            "; the extension `{name}` ({}) would, but is not enabled: set `enable = [{enabled}]` in the host's config",
            file.display()
        );
        return (remedy, Some(name.clone()));
    }
    let other: Vec<_> = providers
        .iter()
        .flat_map(|provider| provider.offers().iter().map(move |offer| (provider, offer)))
        .filter(|(_, offer)| offer.interface.is_same_interface(&import.interface))
        .map(|(provider, offer)| format!("`{}` has `{}`", provider.name(), offer.interface))
        .collect();
    let remedy = if other.is_empty() {
        "; put an extension that provides it into the plugins folder and enable it".to_owned()
    } else {
        format!("; {}, which is not compatible", other.join(", "))
    };
    (remedy, None)
}

type Functions = Vec<(String, FunctionType, u32)>;

/// The provider's offer that serves an import by name and by type: the exact version first.
fn matching_offer<'a>(
    import: &Import,
    provider: &'a dyn Provider,
) -> Result<(&'a Offer, Functions), LinkError> {
    let mut serving: Vec<_> =
        provider.offers().iter().filter(|o| o.interface.serves(&import.interface)).collect();
    serving.sort_by_key(|offer| offer.interface != import.interface);
    let mut error = LinkError::NotOffered {
        import: import.to_string(),
        provider: provider.name().clone(),
        offers: provider.offers().iter().map(|offer| offer.interface.clone()).collect(),
    };
    for offer in serving {
        match functions(import, offer, provider.name()) {
            Ok(functions) => return Ok((offer, functions)),
            Err(mismatch) => error = mismatch,
        }
    }
    Err(error)
}

/// Holds the functions that the component uses against those of an offer.
fn functions(
    import: &Import,
    offer: &Offer,
    provider: &ProviderName,
) -> Result<Functions, LinkError> {
    import
        .functions
        .iter()
        .map(|(name, used)| {
            let offered = offer.functions.iter().find(|function| function.name == *name);
            let Some(offered) = offered else {
                return Err(LinkError::NoFunction {
                    import: import.to_string(),
                    function: name.clone(),
                    provider: provider.clone(),
                });
            };
            match FunctionType::mismatch(used, &offered.ty) {
                None => Ok((name.clone(), used.clone(), offered.number)),
                Some(mismatch) => Err(LinkError::Mismatch {
                    import: import.to_string(),
                    function: name.clone(),
                    provider: provider.clone(),
                    mismatch: Box::new(mismatch),
                }),
            }
        })
        .collect()
}

/// A resource type by the name that the component's types give it.
fn linked_resource(offer: &Offer, name: &str) -> Option<LinkedResource> {
    let resource = offer.resources.iter().find(|resource| resource.name == name)?;
    Some(LinkedResource {
        name: ResourceName { interface: Some(offer.interface.clone()), name: name.to_owned() },
        number: resource.number,
        identity: resource.identity,
    })
}

/// Gives every joint the resource types that it shares with others, and finds those that are split.
fn join_groups(joints: &mut [Joint]) -> Vec<LinkError> {
    let mut errors = Vec::new();
    let mut shared = Vec::new();
    for joint in &*joints {
        let mut resources = joint.defines.clone();
        for used in &joint.import.used_resources {
            let owner = joints.iter().find(|other| other.import.name == used.import);
            // A resource of the host's own (`wasi:io`) is not between providers.
            let Some(owner) = owner else { continue };
            if owner.key() == joint.key() {
                let found =
                    owner.defines.iter().filter(|defined| defined.name.name == used.resource.name);
                resources.extend(found.cloned());
            } else {
                errors.push(LinkError::SplitGroup {
                    import: joint.import.to_string(),
                    resource: used.resource.name.clone(),
                    owner: owner.import.to_string(),
                    here: joint.provider.name().clone(),
                    there: owner.place_beside(joint),
                });
            }
        }
        shared.push(resources);
    }
    for (joint, resources) in joints.iter_mut().zip(shared) {
        joint.resources = resources;
    }
    errors
}

impl Joint {
    /// Joints with the same key share a binding.
    fn key(&self) -> (&ProviderName, &serde_json::Value) {
        (self.provider.name(), &self.config)
    }

    /// Its provider, where that of another joint was named before. Configs are not printed: they may
    /// hold secrets.
    fn place_beside(&self, other: &Self) -> String {
        let name = self.provider.name();
        let config = if name == other.provider.name() { " with another config" } else { "" };
        format!("`{name}`{config}")
    }
}

impl Plan {
    /// Which provider serves which import: `(the import's name, the provider)`.
    pub fn joints(&self) -> impl Iterator<Item = (&Import, &ProviderName)> {
        self.joints.iter().map(|joint| (&joint.import, joint.provider.name()))
    }

    /// Which provider calls which interface of the component's.
    pub fn callers(&self) -> impl Iterator<Item = (&InterfaceName, &ProviderName)> {
        self.callers.iter().flat_map(|caller| {
            caller.calls.iter().map(|calls| (&calls.interface, caller.provider.name()))
        })
    }

    /// Binds the workload to its providers, once for each provider and config.
    ///
    /// # Errors
    ///
    /// [`LinkError::Refused`] with the provider's reason.
    pub async fn bind(self, workload: &WorkloadIdentity) -> Result<Links, LinkError> {
        let Self { joints, callers } = self;
        let (mut bindings, mut number) = (Vec::<Bound>::new(), 0);
        let wanted = joints.iter().map(|joint| (&joint.provider, &joint.config));
        for key in wanted.chain(callers.iter().map(|caller| (&caller.provider, &caller.config))) {
            if bindings.iter().any(|bound| bound.is_for(key)) {
                continue;
            }
            let (provider, config) = key;
            let caller = callers.iter().find(|caller| {
                caller.provider.name() == provider.name() && caller.config == *config
            });
            let calls = caller.map(|caller| caller.calls.clone()).unwrap_or_default();
            let (callbacks, ready) = Callbacks::new(&calls, &mut number);
            let bound = provider.bind(workload, config, &callbacks).await;
            let callee = bound.map_err(|reason| LinkError::Refused {
                provider: provider.name().clone(),
                reason,
            })?;
            bindings.push(Bound {
                provider: Arc::clone(provider),
                config: config.clone(),
                binding: Binding::new(callee),
                calls,
                ready,
            });
        }
        Ok(Links { joints, bindings })
    }
}

/// A binding that was made.
struct Bound {
    provider: Arc<dyn Provider>,
    config: serde_json::Value,
    binding: Arc<Binding>,
    calls: Vec<Calls>,
    ready: Ready,
}

impl Bound {
    fn is_for(&self, (provider, config): (&Arc<dyn Provider>, &serde_json::Value)) -> bool {
        self.provider.name() == provider.name() && self.config == *config
    }
}

/// The imports of a component and what is called of it, each with its binding.
pub struct Links {
    joints: Vec<Joint>,
    bindings: Vec<Bound>,
}

impl Links {
    /// Defines the imports in a linker.
    ///
    /// # Errors
    ///
    /// [`LinkError::Define`] with the linker's words.
    pub fn define<T: StoreData>(&self, linker: &mut Linker<T>) -> Result<(), LinkError> {
        for joint in &self.joints {
            let key = (&joint.provider, &joint.config);
            let Some(bound) = self.bindings.iter().find(|bound| bound.is_for(key)) else {
                continue;
            };
            let import = LinkedImport {
                name: &joint.import.name,
                functions: &joint.functions,
                defines: &joint.defines,
                resources: &joint.resources,
                binding: &bound.binding,
            };
            define(linker, &import).map_err(|error| LinkError::Define {
                import: joint.import.name.clone(),
                reason: format!("{error:#}"),
            })?;
        }
        Ok(())
    }

    /// What the providers call of the component, each at the place that is its number.
    ///
    /// # Errors
    ///
    /// [`LinkError::Uncallable`] when types do not cross.
    pub fn exports<T: StoreData + Send>(&self) -> Result<Vec<Export<T>>, LinkError> {
        let mut exports = Vec::new();
        for bound in &self.bindings {
            let same =
                self.joints.iter().filter(|joint| bound.is_for((&joint.provider, &joint.config)));
            let resources: Vec<_> = same.flat_map(|joint| joint.defines.clone()).collect();
            for calls in &bound.calls {
                let interface = calls.interface.to_string();
                for CalledFunction { name, ty, index } in &calls.functions {
                    let called = Called {
                        interface: &interface,
                        function: name,
                        ty,
                        resources: &resources,
                        binding: &bound.binding,
                    };
                    let export = Export::new(*index, &called);
                    exports.push(export.map_err(|error| LinkError::Uncallable {
                        export: calls.interface.clone(),
                        function: name.clone(),
                        provider: bound.provider.name().clone(),
                        reason: error.to_string(),
                    })?);
                }
            }
        }
        Ok(exports)
    }

    /// Lets the providers call the workload, which is ready.
    pub fn ready(self, workload: &Arc<dyn Callable>) {
        for bound in self.bindings {
            bound.ready.send_replace(Some(Arc::downgrade(workload)));
        }
    }
}
