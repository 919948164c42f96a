//! The providers that the host's config enables.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use super::{
    Provider,
    folder::{self, FolderError, Found},
    metadata::{Library, Refusal},
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
}

/// Why the providers did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The plugins folder is not used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// An enabled extension is not there.
    #[error(
        "the extension `{name}` is enabled, but no library of that name lies in {folder}{near}; put `{name}.so` there (`cargo xtask build-extension {name}`), or set `file` in `[extensions.{name}]`"
    )]
    Missing {
        /// The extension.
        name: ProviderName,
        /// The plugins folder.
        folder: PathBuf,
        /// What lies there.
        near: String,
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

/// The running providers, and what else lies in the plugins folder.
pub struct ProviderSet {
    providers: Vec<Arc<dyn Provider>>,
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
            let native = Native::load(config, &private, &data)?;
            tracing::info!(extension = %config.name, file = %config.file.display(), "extension loaded");
            Ok(Arc::new(native))
        })
    }

    /// The enabled extensions as their files declare them, for finding out who would serve what. None
    /// of their code runs, and nothing can be bound to them. Blocks.
    ///
    /// # Errors
    ///
    /// [`StartError`] for the first that the host would refuse by its file.
    pub fn declared(settings: &Settings) -> Result<Self, StartError> {
        Self::each(settings, |config| Ok(Arc::new(Declared::read(config)?)))
    }

    fn each(
        settings: &Settings,
        make: impl Fn(&NativeConfig) -> Result<Arc<dyn Provider>, Refusal>,
    ) -> Result<Self, StartError> {
        let is_there = folder::check(&settings.plugins)?;
        let mut providers = Vec::new();
        for enabled in &settings.enable {
            let config = NativeConfig {
                name: enabled.name.clone(),
                file: locate(enabled, is_there, settings)?,
                pin: enabled.digest,
                config: enabled.config.clone(),
            };
            let provider = make(&config).map_err(|refusal| StartError::Refused {
                name: config.name.clone(),
                file: config.file.clone(),
                refusal,
            })?;
            providers.push(provider);
        }
        let plugins = is_there.then(|| settings.plugins.clone());
        Ok(Self { providers, plugins, available: OnceLock::new() })
    }

    /// A set of providers made by other means: linked in, or by a test.
    pub fn of(providers: Vec<Arc<dyn Provider>>) -> Self {
        Self { providers, plugins: None, available: OnceLock::new() }
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

    /// Shuts every provider down, the last one first.
    pub async fn shutdown(&self) {
        for provider in self.providers.iter().rev() {
            provider.shutdown().await;
        }
    }
}

/// The file of an enabled extension: the one that is named, else `NAME.so` in the plugins folder, if that
/// is what it says it is, else whichever says so.
fn locate(enabled: &Enabled, is_there: bool, settings: &Settings) -> Result<PathBuf, StartError> {
    if let Some(file) = &enabled.file {
        // A folder that every user can write is refused whichever way it is named.
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            folder::check(folder)?;
        }
        return Ok(file.clone());
    }
    let usual = settings.plugins.join(format!("{}.so", enabled.name));
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
