//! The running host: its engines, its providers and its workloads, started and stopped together.
//!
//! Knows neither where the configuration came from nor who asks.

mod extensions;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

pub use self::extensions::ExtensionsError;

use crate::{
    boundary::{
        exports::{ExportedInterface, exports},
        imports::{Import, ImportError, imports},
        io::all_written,
    },
    engine::{EngineError, EngineKind, Engines, Settings as EngineSettings},
    name::{ProviderName, WorkloadName},
    provider::{
        WorkloadIdentity,
        calls::Callable,
        remote::ServerConfig,
        resolve::{LinkError, Plan, resolve, unused},
        set::{Enabled, ProviderSet, ServerError, Settings as ProviderSettings, StartError},
    },
    workload::{
        Loaded, Places, PrepareError, Workload, core,
        egress::{Egress, EgressError, SystemResolver},
        extension::ExtensionError,
        spec::{Link, Spec},
    },
};

/// How long a stop waits for what providers write into streams of workloads.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// What the host is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder for what the host and its extensions keep.
    pub data: PathBuf,
    /// The folder of extensions.
    pub plugins: PathBuf,
    /// The extensions to load.
    pub enable: Vec<Enabled>,
    /// The servers that workloads may be linked to.
    pub servers: Vec<ServerConfig>,
    /// What each is where it is a component: its grants, links and limits.
    pub sandboxes: BTreeMap<ProviderName, Spec>,
    /// Links for every workload that has none of its own.
    pub links: Vec<Link>,
    /// Instances that each engine holds at once.
    pub instances: u32,
    /// Whether compiled components are kept.
    pub cache: bool,
    /// A file of certificate authorities for outbound requests, besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// Why the host, or a workload on it, does not start.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The data folder cannot be written.
    #[error("the data folder {} cannot be used: {source}; name one that this user can write, with `data` in the config or BACKPLANE_DATA", path.display())]
    Data {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The engines cannot be made.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Outbound traffic cannot be made ready.
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// The extensions did not load.
    #[error(transparent)]
    Providers(#[from] StartError),
    /// A server cannot be used.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The component extensions did not start.
    #[error(transparent)]
    Extensions(#[from] ExtensionsError),
    /// A component cannot be an extension.
    #[error(transparent)]
    Extension(ExtensionError),
    /// A workload cannot be made ready.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// A workload has imports that cannot be linked whatever provides them.
    #[error("failed to link workload `{workload}`: {source}")]
    Import {
        /// The workload.
        workload: WorkloadName,
        /// The import.
        source: ImportError,
    },
    /// Imports of a workload cannot be linked.
    #[error("failed to link workload `{workload}`: {}", all(errors))]
    Link {
        /// The workload.
        workload: WorkloadName,
        /// Each import that cannot, and why.
        errors: Vec<LinkError>,
    },
    /// A task of the host ended early.
    #[error("a task of the host ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

fn all(errors: &[LinkError]) -> String {
    errors.iter().map(LinkError::to_string).collect::<Vec<_>>().join("\n  and ")
}

/// A running host.
pub struct Host {
    engines: Engines,
    places: Places,
    egress: Egress,
    providers: ProviderSet,
    links: Vec<Link>,
}

impl Host {
    /// Makes the engines and loads the extensions.
    ///
    /// # Errors
    ///
    /// [`ControlError`] when the data folder, an engine or an extension fails; nothing runs then.
    pub async fn start(mut settings: Settings) -> Result<Self, ControlError> {
        let sandboxes = std::mem::take(&mut settings.sandboxes);
        let mut host = tokio::task::spawn_blocking(move || {
            let data = |source| ControlError::Data { path: settings.data.clone(), source };
            writable(&settings.data).map_err(data)?;
            let cache = settings.cache.then(|| settings.data.join("cache"));
            let servers = settings.servers.clone();
            Self::new(settings, cache, |extensions| {
                Ok(ProviderSet::start(extensions)?.with_servers(&servers)?)
            })
        })
        .await??;
        host.start_extensions(sandboxes).await?;
        Ok(host)
    }

    /// A host to look at components with: it knows the extensions by their files alone, runs none of
    /// their code, and leaves nothing in the data folder. It can plan workloads, not prepare them.
    ///
    /// # Errors
    ///
    /// [`ControlError`] when an engine fails, or an extension would be refused by its file.
    pub async fn look(settings: Settings) -> Result<Self, ControlError> {
        tokio::task::spawn_blocking(move || {
            let servers = settings.servers.clone();
            Self::new(settings, None, |extensions| {
                Ok(ProviderSet::declared(extensions)?.with_declared_servers(&servers)?)
            })
        })
        .await?
    }

    fn new(
        settings: Settings,
        cache: Option<PathBuf>,
        providers: impl FnOnce(&ProviderSettings) -> Result<ProviderSet, ControlError>,
    ) -> Result<Self, ControlError> {
        let engines = Engines::new(&EngineSettings { cache, instances: settings.instances })?;
        let places = Places::new(&engines);
        let egress = Egress::new(SystemResolver, settings.ca_file.as_deref())?;
        let providers = providers(&ProviderSettings {
            plugins: settings.plugins,
            data: settings.data,
            enable: settings.enable,
        })?;
        Ok(Self { engines, places, egress, providers, links: settings.links })
    }

    /// Makes the engines that no component has needed yet: the first that does then has not to wait.
    ///
    /// # Errors
    ///
    /// [`ControlError::Engine`] when there is not enough address space for one.
    pub async fn make_engines(&self) -> Result<(), ControlError> {
        let engines = self.engines.clone();
        tokio::task::spawn_blocking(move || {
            for kind in [EngineKind::Sync, EngineKind::Concurrent] {
                engines.make(kind)?;
            }
            Ok(())
        })
        .await?
    }

    /// The providers.
    pub fn providers(&self) -> &ProviderSet {
        &self.providers
    }

    /// Settles who serves the imports of a component, without binding anything.
    fn plan(&self, loaded: &Loaded) -> Result<Plan, ControlError> {
        self.plan_among(loaded, &self.exports(loaded), &self.providers, &self.links)
    }

    fn plan_among(
        &self,
        loaded: &Loaded,
        exports: &[ExportedInterface],
        providers: &ProviderSet,
        defaults: &[Link],
    ) -> Result<Plan, ControlError> {
        let imports = self.imports(loaded)?;
        let own = &loaded.spec().links;
        let unused = unused(&imports, exports, own);
        let plan = match resolve(imports, exports, providers, own, defaults) {
            Ok(plan) if unused.is_empty() => return Ok(plan),
            Ok(_) => Vec::new(),
            Err(errors) => errors,
        };
        let errors = unused.into_iter().chain(plan).collect();
        Err(ControlError::Link { workload: loaded.spec().name.clone(), errors })
    }

    /// Loads a component: to look at it, or to [`prepare`](Self::prepare) it.
    ///
    /// # Errors
    ///
    /// [`ControlError`] when it cannot be loaded.
    pub async fn load(&self, spec: Spec) -> Result<Loaded, ControlError> {
        let loaded = Loaded::load(&self.engines, spec).await?;
        Ok(loaded.with_egress(self.egress.clone()).with_places(self.places.clone()))
    }

    /// The imports of a component that are not the host's own.
    ///
    /// # Errors
    ///
    /// [`ControlError::Import`] when one could not be linked whatever provides it.
    pub fn imports(&self, loaded: &Loaded) -> Result<Vec<Import>, ControlError> {
        imports(loaded.component().engine(), loaded.component(), core::is_core)
            .map_err(|source| ControlError::Import { workload: loaded.spec().name.clone(), source })
    }

    /// The interfaces that a component exports, for those who call them.
    pub fn exports(&self, loaded: &Loaded) -> Vec<ExportedInterface> {
        exports(loaded.component().engine(), loaded.component())
    }

    /// The links that hold for workloads without their own.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Makes a workload ready: settles its imports, binds it to its providers and links it.
    ///
    /// # Errors
    ///
    /// [`ControlError`] with what is wrong; the workload is then not bound to anything.
    pub async fn prepare(&self, loaded: Loaded) -> Result<Arc<Workload>, ControlError> {
        let plan = self.plan(&loaded)?;
        let name = loaded.spec().name.clone();
        let link_error = |error| ControlError::Link { workload: name.clone(), errors: vec![error] };
        let identity = WorkloadIdentity { name: name.clone() };
        let links = plan.bind(&identity).await.map_err(link_error)?;
        let mut linker = loaded.linker()?;
        links.define(&mut linker).map_err(link_error)?;
        let exports = links.exports().map_err(link_error)?;
        let workload = Arc::new(loaded.finish(&linker, exports)?);
        let callable: Arc<dyn Callable> = Arc::<Workload>::clone(&workload);
        links.ready(&callable);
        Ok(workload)
    }

    /// Ends the providers. Called once, after the last workload has ended: what the providers are still writing
    /// for one has a moment to get there.
    pub async fn shutdown(self) {
        if tokio::time::timeout(LAST_WRITES, all_written()).await.is_err() {
            tracing::warn!("what an extension still wrote for a workload is cut");
        }
        self.providers.shutdown().await;
    }
}

/// Makes the folder, and a file in it that is removed again.
fn writable(folder: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    tempfile::NamedTempFile::new_in(folder)?.close()
}
