//! Native extensions: shared libraries behind the stable ABI, with the host's own privileges.
//!
//! # Safety
//!
//! The library's code is trusted like the host's: config names it, and its metadata was read before it
//! was opened. What is checked here is that both sides mean the same by what they pass: `abi_stable`
//! compares the layouts of the whole root module before a function of it is called. From then on:
//!
//! - a library is never unloaded, so its functions, its statics and whatever code it hands out stay
//!   valid for the life of the process;
//! - an instance pointer is used from `create` until `shutdown`, a binding pointer from `bind` until
//!   `unbind`, each passed only to the module that made it. Every call, every pending call and every
//!   resource holds the binding, the binding holds the instance: so both outlive what uses them;
//! - the host's context pointer is leaked, since the library's threads may log at any time.

use std::{
    error::Error,
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
};

use abi_stable::{
    library::{AbiHeaderRef, ROOT_MODULE_LOADER_NAME_WITH_NUL},
    std_types::{RResult, RStr},
};
use async_ffi::FfiFuture;
use backplane_abi::{
    BindingPtr, Buffer, CallContext, Description, Exchange, ExtensionModuleRef, Failed, Finished,
    InstancePtr, Outcome,
};
use futures::future::BoxFuture;
use libloading::os::unix::{Library as Dl, RTLD_LOCAL, RTLD_NOW};

use super::{
    BindError, Bound, Callbacks, Offer, Provider, WorkloadIdentity,
    host_api::{self, BegunBinding, HostSide},
    metadata::{Kind, Library, Refusal},
};
use crate::{
    boundary::{
        call::{Answer, Callee, Failure, FailureKind},
        streams::Streams,
    },
    name::{Digest, ProviderName, WorkloadName},
};

/// A native extension, ready to be bound.
pub(crate) struct Native {
    name: ProviderName,
    offers: Vec<Offer>,
    calls: Vec<Offer>,
    instance: Arc<Instance>,
}

/// What config says of a native extension.
#[derive(Debug, Clone)]
pub struct NativeConfig {
    /// The name it goes by.
    pub name: ProviderName,
    /// The library.
    pub file: PathBuf,
    /// The digest that the file must have.
    pub pin: Option<Digest>,
    /// The config that it is created with, a JSON object.
    pub config: serde_json::Value,
    /// A key that its table has and that is for components alone, if there is one.
    pub sandbox_key: Option<&'static str>,
}

impl NativeConfig {
    /// Reads the library's file, compares its pin and checks what it says of itself. None of its code
    /// runs.
    pub(super) fn read(&self) -> Result<(Vec<u8>, Digest, Library), Refusal> {
        let bytes = fs::read(&self.file).map_err(Refusal::Unreadable)?;
        let found = Digest::of(&bytes);
        if let Some(pinned) = self.pin
            && pinned != found
        {
            return Err(Refusal::Changed { found, pinned });
        }
        let library = Library::of_file(&self.file, &bytes)?;
        if let (Kind::Native, Some(key)) = (library.kind, self.sandbox_key) {
            return Err(Refusal::NotSandboxed(key));
        }
        Ok((bytes, found, library))
    }
}

/// A native extension as its file declares it: nothing of it runs, and nothing can be bound to it.
pub(crate) struct Declared {
    name: ProviderName,
    offers: Vec<Offer>,
    calls: Vec<Offer>,
}

impl Declared {
    /// Reads and checks the library's file.
    ///
    /// # Errors
    ///
    /// [`Refusal`], as [`Native::load`] without running it.
    pub(crate) fn read(config: &NativeConfig) -> Result<Self, Refusal> {
        let (_, _, library) = config.read()?;
        Ok(Self::of(&config.name, library))
    }

    /// What a file declares that was read.
    pub(crate) fn of(name: &ProviderName, library: Library) -> Self {
        let Library { offers, calls, .. } = library;
        Self { name: name.clone(), offers, calls }
    }
}

impl Provider for Declared {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn offers(&self) -> &[Offer] {
        &self.offers
    }

    fn calls(&self) -> &[Offer] {
        &self.calls
    }

    fn bind(&self, _: &WorkloadIdentity, _: &serde_json::Value, _: &Arc<Callbacks>) -> Bound {
        Box::pin(async { Err(BindError("the extension was read, not loaded".to_owned())) })
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

impl Native {
    /// Loads the library, checks it and creates its instance. Blocks.
    ///
    /// `private` is a folder of the host's own: the library is copied there under its digest, and the
    /// copy is what is checked and opened, so that nobody changes it in between and a replaced file of
    /// the same name is another library. `data` is the folder for what the extension keeps.
    ///
    /// # Errors
    ///
    /// [`Refusal`], with what to do about it.
    pub(crate) fn load(
        config: &NativeConfig,
        (bytes, found, library): (&[u8], Digest, Library),
        private: &Path,
        data: &Path,
    ) -> Result<Self, Refusal> {
        let copy = keep(bytes, found, private).map_err(Refusal::Unreadable)?;
        let module = open(&copy)?;
        let description = (module.describe())();
        let offers = number(library.offers, &library.metadata.aliases, &description)?;
        let settings = with_data_folder(&config.config, &description, data)?;
        let instance = Instance::create(module, &config.name, &settings)?;
        let (name, calls) = (config.name.clone(), library.calls);
        Ok(Self { name, offers, calls, instance: Arc::new(instance) })
    }
}

/// Writes the library to `private`, once for each digest, and returns its path there.
fn keep(bytes: &[u8], digest: Digest, private: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(private)?;
    fs::set_permissions(private, fs::Permissions::from_mode(0o700))?;
    let path = private.join(format!("{}.so", digest.hex()));
    // A copy that is there may be cut short, by a full disk for one; it is trusted by content alone.
    if fs::read(&path).is_ok_and(|there| there == bytes) {
        return Ok(path);
    }
    let mut file = tempfile::NamedTempFile::new_in(private)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o500))?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(path)
}

fn open(path: &Path) -> Result<ExtensionModuleRef, Refusal> {
    let unloadable = |error: libloading::Error| {
        // What the system's loader says is the cause.
        let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
        Refusal::Unloadable(format!("{error}{cause}"))
    };
    // SAFETY: opening runs the library's initialisers. It is code that config trusts, with an ABI and
    // a panic mode that its metadata states and `Library::read` has accepted.
    let library = unsafe { Dl::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(unloadable)?;
    // SAFETY: `abi_stable` exports under this name a header of this type; `upgrade` checks its magic
    // string and version before anything else of it is read.
    let header =
        unsafe { library.get::<AbiHeaderRef>(ROOT_MODULE_LOADER_NAME_WITH_NUL.as_bytes()) };
    let header = *header.map_err(unloadable)?;
    // Never unloaded: the header and all that comes from it are `'static`.
    std::mem::forget(library);
    let header = header.upgrade().map_err(|error| Refusal::Unloadable(brief(&error)))?;
    header
        .init_root_module::<ExtensionModuleRef>()
        .map_err(|error| Refusal::Unloadable(brief(&error)))
}

/// A layout report goes on for pages; its beginning says which type differs.
fn brief(error: &dyn std::fmt::Display) -> String {
    const LINES: usize = 24;
    let text = error.to_string();
    let mut lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.len() > LINES {
        lines.truncate(LINES);
        lines.push("...");
    }
    lines.join("\n")
}

/// Numbers functions and resource types as the description lists them.
fn number(
    mut offers: Vec<Offer>,
    aliases: &[(String, String)],
    description: &Description,
) -> Result<Vec<Offer>, Refusal> {
    let missing = |interface: &str, name: &str| {
        Refusal::BadMetadata(format!(
            "its world exports `{interface}#{name}`, its description does not list it"
        ))
    };
    let place = |found: Option<usize>| found.and_then(|place| u32::try_from(place).ok());
    for offer in &mut offers {
        let mut interface = offer.interface.to_string();
        if let Some((_, target)) = aliases.iter().find(|(alias, _)| *alias == interface) {
            interface.clone_from(target);
        }
        for function in &mut offer.functions {
            let found = description
                .functions
                .iter()
                .position(|entry| entry.interface == interface && entry.name == function.name);
            function.number = place(found).ok_or_else(|| missing(&interface, &function.name))?;
        }
        for resource in &mut offer.resources {
            let found = description
                .resources
                .iter()
                .position(|entry| entry.interface == interface && entry.name == resource.name);
            resource.number = place(found).ok_or_else(|| missing(&interface, &resource.name))?;
        }
    }
    Ok(offers)
}

/// The config with the key `data` filled in, where the extension takes one and config has none.
fn with_data_folder(
    config: &serde_json::Value,
    description: &Description,
    data: &Path,
) -> Result<serde_json::Value, Refusal> {
    let mut settings = match config {
        serde_json::Value::Null => serde_json::Map::new(),
        serde_json::Value::Object(settings) => settings.clone(),
        _ => return Err(Refusal::BadConfig("expected a table".to_owned())),
    };
    let takes_one = serde_json::from_str::<serde_json::Value>(&description.config_schema)
        .is_ok_and(|schema| schema.pointer("/properties/data").is_some());
    if takes_one && !settings.contains_key("data") {
        fs::create_dir_all(data).map_err(|error| {
            Refusal::BadConfig(format!(
                "the data folder {} cannot be made: {error}",
                data.display()
            ))
        })?;
        settings.insert("data".to_owned(), data.display().to_string().into());
    }
    Ok(settings.into())
}

impl Provider for Native {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn offers(&self) -> &[Offer] {
        &self.offers
    }

    fn calls(&self) -> &[Offer] {
        &self.calls
    }

    fn bind(
        &self,
        workload: &WorkloadIdentity,
        config: &serde_json::Value,
        callbacks: &Arc<Callbacks>,
    ) -> Bound {
        let (instance, callbacks) = (Arc::clone(&self.instance), Arc::clone(callbacks));
        let (name, workload, config) = (self.name.clone(), workload.clone(), config.clone());
        Box::pin(async move {
            let bound = tokio::task::spawn_blocking(move || {
                instance.bind(name, &workload, &config, callbacks)
            });
            match bound.await {
                Ok(bound) => bound.map(|binding| Arc::new(binding) as Arc<dyn Callee>),
                Err(error) => Err(BindError(format!("binding did not end: {error}"))),
            }
        })
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        let instance = Arc::clone(&self.instance);
        Box::pin(async move {
            if let Err(error) = tokio::task::spawn_blocking(move || instance.shutdown()).await {
                tracing::warn!(%error, "an extension's shutdown did not end");
            }
        })
    }
}

/// A created instance. Shut down once, when asked to or at the latest when dropped.
struct Instance {
    module: ExtensionModuleRef,
    host: &'static HostSide,
    /// None once it has shut down.
    pointer: RwLock<Option<InstancePtr>>,
}

impl Instance {
    fn create(
        module: ExtensionModuleRef,
        name: &ProviderName,
        config: &serde_json::Value,
    ) -> Result<Self, Refusal> {
        let host = HostSide::new(name);
        let config = config.to_string();
        // SAFETY: the context is leaked and made for this instance; the API is static.
        let created = unsafe {
            (module.create())(host.context(), host_api::API, RStr::from(config.as_str()))
        };
        match created {
            RResult::ROk(pointer) => Ok(Self { module, host, pointer: RwLock::new(Some(pointer)) }),
            RResult::RErr(failed) => Err(Refusal::BadConfig(failed.message.into_string())),
        }
    }

    fn bind(
        self: &Arc<Self>,
        name: ProviderName,
        workload: &WorkloadIdentity,
        config: &serde_json::Value,
        callbacks: Arc<Callbacks>,
    ) -> Result<NativeBinding, BindError> {
        let config = match config {
            serde_json::Value::Null => "{}".to_owned(),
            config => config.to_string(),
        };
        // Held while binding, so that no shutdown comes in between.
        let pointer = self.pointer.read().unwrap_or_else(PoisonError::into_inner);
        let Some(instance) = *pointer else {
            return Err(BindError("the provider has shut down".to_owned()));
        };
        let begun = self.host.begin(callbacks);
        // SAFETY: the instance is live while the lock is held; the strings live through the call.
        let bound = unsafe {
            (self.module.bind())(
                instance,
                begun.number(),
                RStr::from(workload.name.as_str()),
                RStr::from(config.as_str()),
            )
        };
        match bound {
            RResult::ROk(pointer) => Ok(NativeBinding(Arc::new(BindingInner {
                call: self.module.call(),
                pointer,
                module: self.module,
                name,
                workload: workload.name.clone(),
                _instance: Arc::clone(self),
                begun,
            }))),
            RResult::RErr(failed) => Err(BindError(failed.message.into_string())),
        }
    }

    fn shutdown(&self) {
        let pointer = self.pointer.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(pointer) = pointer {
            // SAFETY: taken out, so this is the one shutdown; the host calls it after the last
            // workload has ended, and `Drop` after the last binding.
            unsafe { (self.module.shutdown())(pointer) }
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// A workload's binding, shared by whatever is still in flight.
struct NativeBinding(Arc<BindingInner>);

struct BindingInner {
    /// Read from the module once.
    call: unsafe extern "C" fn(BindingPtr, u32, &CallContext, &mut Exchange) -> Outcome,
    pointer: BindingPtr,
    module: ExtensionModuleRef,
    name: ProviderName,
    workload: WorkloadName,
    _instance: Arc<Instance>,
    /// Lets the extension ask about the workload, until it is unbound.
    begun: BegunBinding,
}

impl Callee for NativeBinding {
    fn provider(&self) -> &str {
        self.0.name.as_str()
    }

    fn workload(&self) -> Option<&str> {
        Some(self.0.workload.as_str())
    }

    fn streams(&self) -> Option<&Arc<Streams>> {
        Some(self.0.begun.streams())
    }

    #[inline]
    fn call(&self, function: u32, context: &CallContext, exchange: &mut Exchange) -> Answer {
        // SAFETY: the binding is live while `self` is, and the context and the exchange during the call.
        match unsafe { (self.0.call)(self.0.pointer, function, context, exchange) } {
            Outcome::Ready => Answer::Ready,
            Outcome::Failed(failed) => Answer::failed(failure(failed)),
            Outcome::Pending(future) => {
                Answer::pending(PendingCall { future: Some(future), _binding: Arc::clone(&self.0) })
            }
        }
    }

    fn drop_resource(&self, resource: u32, handle: u64) {
        // SAFETY: the binding is live while `self` is, and the boundary drops each handle once.
        unsafe { (self.0.module.drop_resource())(self.0.pointer, resource, handle) }
    }
}

impl Drop for BindingInner {
    fn drop(&mut self) {
        // SAFETY: nothing holds the binding any more: no call, no pending call, no resource.
        unsafe { (self.module.unbind())(self.pointer) }
    }
}

/// A call that the extension answers later.
struct PendingCall {
    /// None once it has ended. Before the binding, which must outlive it.
    future: Option<FfiFuture<Finished>>,
    _binding: Arc<BindingInner>,
}

impl Future for PendingCall {
    type Output = Result<Buffer, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        // The future reports a panic on its side by panicking on this one.
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(future).poll(cx)));
        let ended = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(RResult::ROk(results))) => Ok(results),
            Ok(Poll::Ready(RResult::RErr(failed))) => Err(failure(failed)),
            Err(_) => Err(Failure {
                kind: FailureKind::Panicked,
                message: "a panic while the call was pending".to_owned(),
            }),
        };
        self.future = None;
        Poll::Ready(ended)
    }
}

fn failure(failed: Failed) -> Failure {
    Failure { kind: FailureKind::from_code(failed.code), message: failed.message.into_string() }
}
