//! The providers that the host's config enables.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use super::{
    Provider,
    folder::{self, FolderError, Found},
    metadata::{Kind, Library, Refusal},
    native::{Declared, Native, NativeConfig},
    remote::{Server, ServerConfig, WitError},
};
use crate::name::{Digest, ProviderName};

/// Which extensions to load, and where things are.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The plugins folder.
    pub plugins: PathBuf,
    /// The host's data folder.
    pub data: PathBuf,
    /// The extensions to load, in order.
    pub enable: Vec<Enabled>,
}

/// An extension that config enables.
#[derive(Debug, Clone)]
pub struct Enabled {
    /// The name it goes by.
    pub name: ProviderName,
    /// The library, where config names one; else the one in the plugins folder that has the name.
    pub file: Option<PathBuf>,
    /// The digest that the library must have.
    pub digest: Option<Digest>,
    /// The config that it is created with, a JSON object or null.
    pub config: serde_json::Value,
    /// A key that its table has and that is for components alone, if there is one.
    pub sandbox_key: Option<&'static str>,
}

/// Why the providers did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The plugins folder is not used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// An enabled extension is not there.
    #[error(
        "the extension `{name}` is enabled, but no library or component of that name lies in {folder}{near}; put `{name}.so` or `{name}.wasm` there (`cargo xtask build-extension {name}`), or set `file` in `[extensions.{name}]`"
    )]
    Missing {
        /// The extension.
        name: ProviderName,
        /// The plugins folder.
        folder: PathBuf,
        /// What lies there.
        near: String,
    },
    /// Two files of that name lie there.
    #[error(
        "the extension `{name}` is enabled, and both `{name}.so` and `{name}.wasm` lie in {folder}; remove one, or set `file` in `[extensions.{name}]`"
    )]
    Both {
        /// The extension.
        name: ProviderName,
        /// The plugins folder.
        folder: PathBuf,
    },
    /// An enabled extension is refused.
    #[error("the extension `{name}` ({file}) is refused: {refusal}")]
    Refused {
        /// The extension.
        name: ProviderName,
        /// The library.
        file: PathBuf,
        /// Why.
        #[source]
        refusal: Refusal,
    },
}

/// Why a server cannot be called.
#[derive(Debug, thiserror::Error)]
#[error("the server `{name}` cannot be used: {source}")]
pub struct ServerError {
    /// The server.
    pub name: ProviderName,
    /// Why.
    #[source]
    pub source: WitError,
}

/// A component extension that was read and not started.
#[derive(Debug)]
pub struct ComponentFile {
    /// The name it goes by.
    pub name: ProviderName,
    /// The file.
    pub file: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
    /// What it says of itself.
    pub library: Library,
}

impl ComponentFile {
    fn declared(&self) -> Declared {
        Declared::of(&self.name, self.library.clone())
    }
}

/// What became of an enabled extension.
enum Made {
    Provider(Arc<dyn Provider>),
    Component(Box<ComponentFile>),
}

/// The running providers, and what else lies in the plugins folder.
pub struct ProviderSet {
    providers: Vec<Arc<dyn Provider>>,
    components: Vec<ComponentFile>,
    /// The plugins folder, if it is there.
    plugins: Option<PathBuf>,
    available: OnceLock<Vec<Found>>,
}

impl ProviderSet {
    /// Loads the enabled extensions. Blocks: call it where that is allowed.
    ///
    /// # Errors
    ///
    /// [`StartError`] for the first that cannot be loaded; those before it are shut down.
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        let private = settings.data.join("extensions").join("libraries");
        Self::each(settings, |config| {
            let data = settings.data.join("extensions").join(config.name.as_str());
            let (bytes, found, library) = config.read()?;
            if library.kind == Kind::Component {
                let (name, file) = (config.name.clone(), config.file.clone());
                return Ok(Made::Component(Box::new(ComponentFile { name, file, bytes, library })));
            }
            let native = Native::load(config, (&bytes, found, library), &private, &data)?;
            tracing::info!(extension = %config.name, file = %config.file.display(), "extension loaded");
            Ok(Made::Provider(Arc::new(native)))
        })
    }

    /// The enabled extensions as their files declare them, for finding out who would serve what. None
    /// of their code runs, and nothing can be bound to them. Blocks.
    ///
    /// # Errors
    ///
    /// [`StartError`] for the first that the host would refuse by its file.
    pub fn declared(settings: &Settings) -> Result<Self, StartError> {
        Self::each(settings, |config| Ok(Made::Provider(Arc::new(Declared::read(config)?))))
    }

    fn each(
        settings: &Settings,
        make: impl Fn(&NativeConfig) -> Result<Made, Refusal>,
    ) -> Result<Self, StartError> {
        let is_there = folder::check(&settings.plugins)?;
        let (mut providers, mut components) = (Vec::<Arc<dyn Provider>>::new(), Vec::new());
        for enabled in &settings.enable {
            let config = NativeConfig {
                name: enabled.name.clone(),
                file: locate(enabled, is_there, settings)?,
                pin: enabled.digest,
                config: enabled.config.clone(),
                sandbox_key: enabled.sandbox_key,
            };
            let provider = make(&config).map_err(|refusal| StartError::Refused {
                name: config.name.clone(),
                file: config.file.clone(),
                refusal,
            })?;
            match provider {
                Made::Provider(provider) => providers.push(provider),
                Made::Component(component) => {
                    providers.push(Arc::new(component.declared()));
                    components.push(*component);
                }
            }
        }
        let plugins = is_there.then(|| settings.plugins.clone());
        Ok(Self { providers, components, plugins, available: OnceLock::new() })
    }

    /// A set of providers made by other means: linked in, or by a test.
    pub fn of(providers: Vec<Arc<dyn Provider>>) -> Self {
        Self { providers, components: Vec::new(), plugins: None, available: OnceLock::new() }
    }

    /// The components among the extensions, which the host has to start: until it has put what runs in the place of
    /// each, the set has them as their files declare them. Whoever asks first gets them.
    pub fn take_components(&mut self) -> Vec<ComponentFile> {
        std::mem::take(&mut self.components)
    }

    /// The set without one of its providers, which may not serve itself.
    pub fn without(&self, name: &ProviderName) -> Self {
        let others = self.providers.iter().filter(|provider| provider.name() != name);
        let (providers, plugins) = (others.cloned().collect(), self.plugins.clone());
        Self { providers, components: Vec::new(), plugins, available: OnceLock::new() }
    }

    /// Puts a provider that runs in the place of the one of its name.
    pub fn put(&mut self, provider: Arc<dyn Provider>) {
        // Behind those that it needs, which were there before: it is shut down before they are.
        self.providers.retain(|other| other.name() != provider.name());
        self.providers.push(provider);
    }

    /// Adds servers, behind the extensions. Blocks; must be called inside a runtime.
    ///
    /// # Errors
    ///
    /// [`ServerError`] for the first that cannot be used.
    pub fn with_servers(self, servers: &[ServerConfig]) -> Result<Self, ServerError> {
        self.with(servers, Server::start)
    }

    /// Adds servers to look at. Blocks.
    ///
    /// # Errors
    ///
    /// [`ServerError`] for the first that cannot be used.
    pub fn with_declared_servers(self, servers: &[ServerConfig]) -> Result<Self, ServerError> {
        self.with(servers, Server::declared)
    }

    fn with(
        mut self,
        servers: &[ServerConfig],
        make: impl Fn(&ServerConfig) -> Result<Server, WitError>,
    ) -> Result<Self, ServerError> {
        for config in servers {
            let failed = |source| ServerError { name: config.name.clone(), source };
            self.providers.push(Arc::new(make(config).map_err(failed)?));
        }
        Ok(self)
    }

    /// The provider with this name.
    pub fn get(&self, name: &ProviderName) -> Option<&Arc<dyn Provider>> {
        self.providers.iter().find(|provider| provider.name() == name)
    }

    /// Every provider.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Provider>> {
        self.providers.iter()
    }

    /// Their names.
    pub fn names(&self) -> Vec<ProviderName> {
        self.providers.iter().map(|provider| provider.name().clone()).collect()
    }

    /// What lies in the plugins folder, enabled or not. Read when this is first asked, for a host that
    /// has all that it needs starts sooner without; a folder that cannot be read any more has nothing.
    pub fn available(&self) -> &[Found] {
        self.available.get_or_init(|| {
            let plugins = self.plugins.as_deref();
            plugins.and_then(|plugins| folder::list(plugins).ok()).unwrap_or_default()
        })
    }

    /// Shuts every provider down, the last one first, and drops it: what it holds of another ends before that does.
    pub async fn shutdown(mut self) {
        while let Some(provider) = self.providers.pop() {
            provider.shutdown().await;
        }
    }
}

/// The file of an enabled extension: the one that is named, else `NAME.wasm` or `NAME.so` in the plugins folder, if
/// that is what it says it is, else whichever says so.
fn locate(enabled: &Enabled, is_there: bool, settings: &Settings) -> Result<PathBuf, StartError> {
    if let Some(file) = &enabled.file {
        // A folder that every user can write is refused whichever way it is named.
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            folder::check(folder)?;
        }
        return Ok(file.clone());
    }
    let usual = settings.plugins.join(format!("{}.so", enabled.name));
    let component = settings.plugins.join(format!("{}.wasm", enabled.name));
    if is_there && component.exists() {
        if usual.exists() {
            let (name, folder) = (enabled.name.clone(), settings.plugins.clone());
            return Err(StartError::Both { name, folder });
        }
        return Ok(component);
    }
    let is_it = |bytes: &[u8]| match Library::read(bytes) {
        Ok(library) => library.metadata.name == enabled.name.as_str(),
        Err(_) => false,
    };
    if is_there && std::fs::read(&usual).is_ok_and(|bytes| is_it(&bytes)) {
        return Ok(usual);
    }
    let found = if is_there { folder::list(&settings.plugins)? } else { Vec::new() };
    let named = |found: &&Found| match &found.library {
        Ok(library) => library.metadata.name == enabled.name.as_str(),
        Err(_) => found.file.file_stem().is_some_and(|stem| stem == enabled.name.as_str()),
    };
    match found.iter().find(named) {
        Some(found) => Ok(found.file.clone()),
        None => Err(StartError::Missing {
            name: enabled.name.clone(),
            folder: settings.plugins.clone(),
            near: near(&found),
        }),
    }
}

fn near(found: &[Found]) -> String {
    let names: Vec<_> = found
        .iter()
        .filter_map(|found| found.library.as_ref().ok())
        .map(|library| format!("`{}`", library.metadata.name))
        .collect();
    if names.is_empty() { String::new() } else { format!(" (there are: {})", names.join(", ")) }
}
