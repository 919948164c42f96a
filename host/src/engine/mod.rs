//! The wasmtime engines: they compile components and hold the pools their instances come from.
//!
//! Nothing here knows what a workload, a provider or an interface is.

mod compile;
mod kind;
mod ticker;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use wasmtime::{
    Cache, CacheConfig, Config, Enabled, Engine, InstanceAllocationStrategy,
    PoolingAllocationConfig,
};

pub use compile::{CompileError, Compiled};
pub use kind::EngineKind;
use ticker::Ticker;

/// How often a running guest gives its thread back, and so how fine CPU time is counted.
pub const TICK: Duration = Duration::from_millis(10);

/// The largest linear memory of a 32-bit guest. Address space is reserved for all of it, so that
/// compiled code needs no bounds checks; a workload's own limit is what counts.
const MEMORY_RESERVATION: u64 = 4 << 30;

/// Linear memories in the pool for each of its instances.
const MEMORIES: u32 = 2;

/// Tables in the pool for each of its instances.
const TABLES: u32 = 4;

/// Elements that the pool has room for in a table.
pub const TABLE_ELEMENTS: usize = 100_000;

/// What the engines are made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder of compiled components. Its files are trusted as machine code is: it is made
    /// readable and writable for its owner alone. Without one, each start compiles anew.
    pub cache: Option<PathBuf>,
    /// Instances that each of the two engines can hold at once. Each reserves 4 GiB of address
    /// space, and no memory until it is used.
    pub instances: u32,
}

impl Settings {
    fn failed(&self, source: Box<dyn std::error::Error + Send + Sync>) -> EngineError {
        EngineError::Engine { instances: self.instances, source }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { cache: None, instances: 1000 }
    }
}

/// Why the engines cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The folder of compiled components cannot be used.
    #[error(
        "failed to use `{}` as the folder of compiled components; expected a folder that this user can write; \
         mend its permissions or name another data folder",
        path.display()
    )]
    Cache {
        /// The folder.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// wasmtime refused the settings, or the address space for the pools could not be reserved.
    #[error(
        "failed to make an engine for {instances} instances; \
         expected address space for them (`ulimit -v`, a container's limits); raise it or lower the number of instances"
    )]
    Engine {
        /// The instances asked for.
        instances: u32,
        /// What wasmtime says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The two engines of the host, and the thread that makes their guests yield.
///
/// Support for concurrent tasks makes each call of a guest twice to four times dearer, so components
/// that cannot use it run without. Each engine is made when a component first needs it: reserving its
/// pools takes as long as all the rest of a start.
#[derive(Clone)]
pub struct Engines(Arc<Inner>);

struct Inner {
    settings: Settings,
    cache: Option<Cache>,
    made: Arc<Made>,
    _ticker: Ticker,
}

/// The engines that were made.
#[derive(Default)]
struct Made {
    sync: OnceLock<Engine>,
    concurrent: OnceLock<Engine>,
    /// Held while one is made: two would reserve twice.
    making: Mutex<()>,
}

impl Made {
    fn place(&self, kind: EngineKind) -> &OnceLock<Engine> {
        match kind {
            EngineKind::Sync => &self.sync,
            EngineKind::Concurrent => &self.concurrent,
        }
    }

    /// Makes their guests yield soon.
    fn tick(&self) {
        [&self.sync, &self.concurrent]
            .into_iter()
            .filter_map(OnceLock::get)
            .for_each(Engine::increment_epoch);
    }
}

impl Engines {
    /// Opens the cache, and starts the thread that makes guests yield. The engines are made later.
    ///
    /// # Errors
    ///
    /// [`EngineError`] when the folder of compiled components cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, EngineError> {
        let cache = settings.cache.as_deref().map(open_cache).transpose()?;
        let made = Arc::new(Made::default());
        let ticker = Ticker::start(Arc::clone(&made), TICK)
            .map_err(|error| settings.failed(error.into()))?;
        let settings = settings.clone();
        Ok(Self(Arc::new(Inner { settings, cache, made, _ticker: ticker })))
    }

    /// The engine of a kind, made where nobody has asked for it before. Blocks briefly then, for
    /// address space is reserved.
    ///
    /// # Errors
    ///
    /// [`EngineError`] when there is not enough of it.
    pub fn make(&self, kind: EngineKind) -> Result<&Engine, EngineError> {
        let Inner { settings, cache, made, .. } = &*self.0;
        let place = made.place(kind);
        if let Some(engine) = place.get() {
            return Ok(engine);
        }
        let _making = made.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = place.get() {
            return Ok(engine);
        }
        let engine = Engine::new(&config(kind, settings, cache.clone()))
            .map_err(|source| settings.failed(source.into()))?;
        Ok(place.get_or_init(|| engine))
    }

    /// Instances that each of them can hold at once.
    pub fn instances(&self) -> u32 {
        self.0.settings.instances
    }

    /// Compiles a component, or takes it from the cache, on a thread that may block. Which engine it
    /// is for follows from its types.
    pub async fn compile(&self, bytes: Vec<u8>) -> Result<Compiled, CompileError> {
        let engines = self.clone();
        tokio::task::spawn_blocking(move || compile::compile(&engines, &bytes))
            .await
            .map_err(|error| CompileError::Stopped(error.to_string()))?
    }
}

impl std::fmt::Debug for Engines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engines").finish_non_exhaustive()
    }
}

fn open_cache(path: &Path) -> Result<Cache, EngineError> {
    let failed = |source| EngineError::Cache { path: path.to_owned(), source };
    make_private_folder(path).map_err(failed)?;
    let path = fs::canonicalize(path).map_err(failed)?;
    let mut config = CacheConfig::new();
    config.with_directory(&path);
    Cache::new(config).map_err(|error| failed(io::Error::other(error.to_string())))
}

/// Makes the folder, and refuses one that another user could have put machine code into.
fn make_private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "others can write it (mode {:o}); run `chmod go-w {}`",
                mode & 0o777,
                path.display()
            ),
        ));
    }
    Ok(())
}

fn config(kind: EngineKind, settings: &Settings, cache: Option<Cache>) -> Config {
    let mut config = Config::new();
    config.cache(cache);
    config.epoch_interruption(true);
    config.memory_init_cow(true);
    config.memory_reservation(MEMORY_RESERVATION);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(settings)));

    config.wasm_component_model(true);
    config.wasm_component_model_implements(true);
    // The boundary reads guest memory by 32-bit pointers and has no code for these.
    config.wasm_memory64(false);
    config.wasm_component_model_memory64(false);
    config.wasm_component_model_gc(false);
    config.wasm_component_model_fixed_length_lists(false);
    config.wasm_component_model_map(false);
    config.wasm_component_model_error_context(false);
    match kind {
        EngineKind::Sync => config.concurrency_support(false),
        EngineKind::Concurrent => config.wasm_component_model_async(true),
    };
    config
}

/// The pools. Everything is reserved address space, given memory when it is touched.
fn pool(settings: &Settings) -> PoolingAllocationConfig {
    let instances = settings.instances;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances);
    // A component made from one module has three to five core instances (adapters, shims); one
    // composed of several components has that many for each.
    pool.total_core_instances(instances.saturating_mul(16));
    pool.total_memories(instances.saturating_mul(MEMORIES));
    pool.total_tables(instances.saturating_mul(TABLES));
    pool.total_stacks(instances);
    // Interpreters compiled to wasm have large contexts and tables of function pointers.
    pool.max_component_instance_size(8 << 20);
    pool.max_core_instance_size(4 << 20);
    pool.table_elements(TABLE_ELEMENTS);
    pool.max_tables_per_module(8);
    pool.max_memories_per_module(4);
    pool.max_memory_size(MEMORY_RESERVATION as usize);
    // The next instance in a slot finds the pages that the last one used, cleared by `memset`, and
    // spares the kernel an unmap and a fault for each. Beyond these sizes they are given back.
    pool.linear_memory_keep_resident(256 << 10);
    pool.table_keep_resident(16 << 10);
    pool.pagemap_scan(Enabled::Auto);
    pool
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn what_was_compiled_is_kept_in_a_folder_of_the_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/compiled");
        let settings = Settings { cache: Some(path.clone()), instances: 1 };
        let engines = Engines::new(&settings).unwrap();
        assert_eq!(mode(&path), 0o700);
        let component = wat::parse_str("(component (core module (func)))").unwrap();
        engines.compile(component).await.unwrap();
        assert!(fs::read_dir(&path).unwrap().next().is_some(), "nothing was kept");
    }

    #[test]
    fn a_folder_of_machine_code_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let settings = Settings { cache: Some(folder.path().to_owned()), instances: 1 };
        let error = Engines::new(&settings).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("chmod go-w"), "{error}: {source}");
    }

    #[tokio::test]
    async fn an_engine_is_made_for_the_first_component_that_needs_it() {
        let engines = Engines::new(&Settings { cache: None, instances: 1 }).unwrap();
        let compile = async |text| engines.compile(wat::parse_str(text).unwrap()).await.unwrap();
        let made = |kind| engines.0.made.place(kind).get().is_some();
        let kinds = [EngineKind::Sync, EngineKind::Concurrent];
        assert_eq!(kinds.map(made), [false, false]);
        compile("(component)").await;
        assert_eq!(kinds.map(made), [true, false]);
        let both = [compile("(component (type (future)))"), compile("(component (type (future)))")];
        let both = futures::future::join_all(both).await;
        assert_eq!(kinds.map(made), [true, true]);
        let [one, other] = both.as_slice() else { unreachable!() };
        assert!(Engine::same(one.component.engine(), other.component.engine()));
    }

    #[test]
    fn too_many_instances_are_an_error_that_says_what_to_lower() {
        let engines = Engines::new(&Settings { cache: None, instances: u32::MAX }).unwrap();
        let error = engines.make(EngineKind::Sync).unwrap_err();
        assert!(error.to_string().contains("lower the number of instances"), "{error}");
    }
}
