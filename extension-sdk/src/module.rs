//! The root module's functions: from the ABI's pointers to the author's types and back.

use std::{
    any::Any,
    future::Future,
    hint::black_box,
    mem::ManuallyDrop,
    panic::AssertUnwindSafe,
    ptr::NonNull,
    sync::{Arc, Condvar, Mutex, PoisonError},
    task::{Context as TaskContext, Waker},
    time::Duration,
};

use abi_stable::{
    prefix_type::PrefixTypeTrait,
    std_types::{RErr, ROk, RResult, RStr},
};
use backplane_abi::{
    BindingPtr, CallContext, Description, Exchange, ExtensionModule, ExtensionModuleRef, Failed,
    FunctionEntry, HostApiRef, HostContext, InstancePtr, Outcome, ResourceEntry,
};
use futures::FutureExt;

use crate::{
    Context, Extension, Failure, Host, Workload, config,
    context::Core,
    failure::to_failed,
    log,
    panics::{catch, panicked},
    runtime,
    world::World,
};

/// What `export!` says of an extension.
pub trait Exported: 'static {
    /// The name in the host's config.
    const NAME: &'static str;
    /// The extension's own version.
    const VERSION: &'static str;
    /// Threads of the runtime; 0 for the default.
    const WORKER_THREADS: usize;
}

/// The root module of extension `E`, which provides `W`.
pub fn module<E, W, X>() -> ExtensionModuleRef
where
    E: Extension,
    W: World<E::Binding>,
    X: Exported,
{
    ExtensionModule {
        describe: describe::<E, W, X>,
        create: create::<E, X>,
        bind: bind::<E>,
        call: call::<E, W>,
        drop_resource: drop_resource::<E>,
        unbind: unbind::<E>,
        shutdown: shutdown::<E>,
    }
    .leak_into_prefix()
}

/// Called by the loader, so in a shared library alone. Refers to the sections that the host reads
/// from the file, so that no linker drops them.
pub fn loaded_as_library(metadata: &'static [u8], world: &'static [u8]) {
    black_box((metadata, world));
    runtime::set_library();
}

/// An extension's instance.
struct Instance<E> {
    extension: E,
    host: Host,
    ending: Ending,
}

/// Counts the bindings whose `unbind` still runs.
#[derive(Default)]
struct Ending {
    running: Mutex<usize>,
    ended: Condvar,
}

/// How long `shutdown` waits for them.
const UNBIND_LIMIT: Duration = Duration::from_secs(30);

impl Ending {
    fn begin(&self) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    fn end(&self) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.ended.notify_all();
    }

    fn wait(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ended.wait_timeout_while(running, UNBIND_LIMIT, |running| *running > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// A workload's binding: the author's state and the SDK's.
pub(crate) struct Bound<B> {
    binding: B,
    core: Core,
    /// The `Instance<E>` it was bound to.
    instance: Arc<dyn Any + Send + Sync>,
}

/// A binding during a call: the pointer that its `Arc` became, which reaches the count as well. A reference
/// would not.
pub struct BoundRef<B: 'static>(NonNull<Bound<B>>);

// SAFETY: it gives out shared references to the binding, and shares of its `Arc`: what it points to is `Sync`
// for the one, and `Send` too for the other.
unsafe impl<B: Send + Sync> Send for BoundRef<B> {}
// SAFETY: as above.
unsafe impl<B: Send + Sync> Sync for BoundRef<B> {}

impl<B> Clone for BoundRef<B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for BoundRef<B> {}

impl<B> BoundRef<B> {
    /// # Safety
    ///
    /// `pointer` must be one that `bind` returned for a binding of type `B`, before its `unbind`,
    /// and what is made of it must not be used after `unbind` without a [`keep`](Self::keep).
    unsafe fn new(pointer: BindingPtr) -> Self {
        // SAFETY: `bind` made it from an `Arc<Bound<B>>`, and such pointers are not null.
        Self(unsafe { NonNull::new_unchecked(pointer.0.cast_mut().cast()) })
    }

    #[inline]
    fn get(self) -> &'static Bound<B> {
        // SAFETY: `unbind` alone gives the `Arc` up, and by the contract of `new` nothing is used after it.
        unsafe { &*self.0.as_ptr() }
    }

    /// The author's state.
    #[inline]
    pub fn binding(self) -> &'static B {
        &self.get().binding
    }

    /// The instance's host.
    #[inline]
    pub(crate) fn host(self) -> &'static Host {
        self.get().core.workload.host()
    }

    /// The context of a call.
    #[inline]
    pub fn context(self, call: CallContext) -> Context {
        Context::new(&self.get().core, call)
    }

    /// Keeps the binding, for a call that outlives its first poll.
    pub(crate) fn keep(self) -> Arc<Bound<B>> {
        // SAFETY: the pointer is the one that `bind` made of its `Arc`, which is alive.
        unsafe {
            Arc::increment_strong_count(self.0.as_ptr());
            Arc::from_raw(self.0.as_ptr())
        }
    }
}

extern "C" fn describe<E, W, X>() -> Description
where
    E: Extension,
    W: World<E::Binding>,
    X: Exported,
{
    let schemas = catch(|| (config::schema::<E::Config>(), config::schema::<E::BindingConfig>()));
    let (config, binding) = schemas.unwrap_or_default();
    let functions = W::FUNCTIONS.iter();
    let resources = W::RESOURCES.iter();
    Description {
        name: X::NAME.into(),
        version: X::VERSION.into(),
        functions: functions
            .map(|entry| FunctionEntry {
                interface: entry.interface.into(),
                name: entry.name.into(),
            })
            .collect(),
        resources: resources
            .map(|entry| ResourceEntry {
                interface: entry.interface.into(),
                name: entry.name.into(),
            })
            .collect(),
        config_schema: config.into(),
        binding_schema: binding.into(),
    }
}

/// Runs a step of the lifecycle; its failures and its panics alike are `Failed`.
fn step<T>(body: impl FnOnce() -> Result<T, Failure>) -> RResult<T, Failed> {
    match catch(body) {
        Ok(Ok(value)) => ROk(value),
        Ok(Err(failure)) | Err(failure) => RErr(to_failed(failure)),
    }
}

unsafe extern "C" fn create<E: Extension, X: Exported>(
    context: HostContext,
    api: HostApiRef,
    config: RStr<'_>,
) -> RResult<InstancePtr, Failed> {
    step(|| {
        let host = Host::new(context, api);
        if runtime::is_library() {
            log::install(host);
        }
        runtime::start(X::WORKER_THREADS)?;
        let extension = config::read("config", config.as_str())
            .and_then(|config| runtime::block(log::scope(host, E::create(config, host))))
            .and_then(|created| created);
        match extension {
            Ok(extension) => {
                let instance = Instance { extension, host, ending: Ending::default() };
                Ok(InstancePtr(Arc::into_raw(Arc::new(instance)).cast()))
            }
            Err(failure) => {
                log::remove(host);
                Err(failure)
            }
        }
    })
}

unsafe extern "C" fn bind<E: Extension>(
    instance: InstancePtr,
    workload: u64,
    name: RStr<'_>,
    config: RStr<'_>,
) -> RResult<BindingPtr, Failed> {
    // SAFETY: `create` made it from an `Arc<Instance<E>>`, which `shutdown` alone gives up, and the
    // host calls nothing with it after that.
    let instance = unsafe { ManuallyDrop::new(Arc::from_raw(instance.0.cast::<Instance<E>>())) };
    step(|| {
        let instance = Arc::clone(&instance);
        let workload = Workload::new(workload, name.as_str(), instance.host);
        let config = config::read("config of the link", config.as_str())?;
        let binding = runtime::block({
            let (instance, workload) = (Arc::clone(&instance), workload.clone());
            async move { log::scope(instance.host, instance.extension.bind(workload, config)).await }
        })??;
        let core = Core { workload };
        let bound = Bound { binding, core, instance };
        Ok(BindingPtr(Arc::into_raw(Arc::new(bound)).cast()))
    })
}

unsafe extern "C" fn call<E, W>(
    binding: BindingPtr,
    function: u32,
    context: &CallContext,
    exchange: &mut Exchange,
) -> Outcome
where
    E: Extension,
    W: World<E::Binding>,
{
    // SAFETY: the host calls with a binding that `bind` returned, before its `unbind`; a future that
    // outlives the call keeps the binding.
    let bound = unsafe { BoundRef::new(binding) };
    W::call(bound, function, context, exchange)
}

unsafe extern "C" fn drop_resource<E: Extension>(binding: BindingPtr, resource: u32, handle: u64) {
    // SAFETY: as in `call`.
    let bound = unsafe { BoundRef::<E::Binding>::new(binding) };
    let dropped = catch(|| {
        runtime::within(bound.host(), || {
            bound.get().core.workload.table().remove(resource, handle).is_some()
        })
    });
    let _inside = log::inside(bound.host());
    let workload = bound.get().core.workload.name();
    match dropped {
        Ok(true) => {}
        Ok(false) => {
            tracing::warn!(workload, resource, handle, "a resource was dropped that is not alive");
        }
        Err(failure) => tracing::error!(workload, resource, "the drop of a resource {failure}"),
    }
}

unsafe extern "C" fn unbind<E: Extension>(binding: BindingPtr) {
    // SAFETY: `bind` made it from an `Arc`, and the host gives it up here, once.
    let bound = unsafe { Arc::from_raw(binding.0.cast::<Bound<E::Binding>>()) };
    let host = *bound.core.workload.host();
    let _inside = log::inside(&host);
    if let Err(failure) = catch(|| runtime::within(&host, || unbind_last::<E>(bound))) {
        tracing::error!("the end of a binding {failure}");
    }
}

fn unbind_last<E: Extension>(bound: Arc<Bound<E::Binding>>) {
    drop_resources(&bound.core);
    let Some(Bound { binding, core, instance }) = Arc::into_inner(bound) else {
        return tracing::error!("a workload was unbound while a call of it was running");
    };
    if let Ok(instance) = instance.downcast::<Instance<E>>() {
        end(instance, binding, core.workload.clone());
    }
}

/// Drops what the workload has left behind, each by itself: one may panic.
fn drop_resources(core: &Core) {
    for rep in core.workload.table().drain() {
        if let Err(failure) = catch(|| drop(rep)) {
            tracing::error!(workload = core.workload.name(), "the drop of a resource {failure}");
        }
    }
}

/// Runs the author's `unbind`: here if it is done at once, else on the runtime's threads.
fn end<E: Extension>(instance: Arc<Instance<E>>, binding: E::Binding, workload: Workload) {
    instance.ending.begin();
    let mut ending = Box::pin(async move {
        let unbind = log::scope(instance.host, instance.extension.unbind(binding));
        let unbind = AssertUnwindSafe(unbind).catch_unwind();
        if let Err(payload) = unbind.await {
            let failure = panicked(payload);
            tracing::error!(workload = workload.name(), "the end of a binding {failure}");
        }
        instance.ending.end();
    });
    if ending.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending() {
        match runtime::start(0) {
            Ok(runtime) => drop(runtime.spawn(ending)),
            Err(failure) => tracing::error!("{failure}"),
        }
    }
}

unsafe extern "C" fn shutdown<E: Extension>(instance: InstancePtr) {
    // SAFETY: `create` made it from an `Arc`, and the host gives it up here, once.
    let instance = unsafe { Arc::from_raw(instance.0.cast::<Instance<E>>()) };
    let host = instance.host;
    let _inside = log::inside(&host);
    let ended = step(|| {
        instance.ending.wait();
        match Arc::into_inner(instance) {
            Some(instance) => runtime::block(log::scope(host, instance.extension.shutdown())),
            None => Err(Failure::new("was not called: a binding has not ended")),
        }
    });
    if let RErr(failed) = ended {
        tracing::error!("the extension's shutdown {}", failed.message);
    }
    log::remove(host);
}

/// The bytes of all parts together.
pub const fn length(parts: &[&str]) -> usize {
    let (mut total, mut rest) = (0, parts);
    while let [part, others @ ..] = rest {
        total += part.len();
        rest = others;
    }
    total
}

/// The parts, one after another. `N` is their [`length`].
pub const fn concatenate<const N: usize>(parts: &[&str]) -> [u8; N] {
    let (mut bytes, mut at, mut rest) = ([0; N], 0, parts);
    while let [part, others @ ..] = rest {
        let (_, tail) = bytes.split_at_mut(at);
        let (place, _) = tail.split_at_mut(part.len());
        place.copy_from_slice(part.as_bytes());
        at += part.len();
        rest = others;
    }
    bytes
}

/// A slice as an array of its length.
pub const fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    match bytes.first_chunk() {
        Some(array) => *array,
        None => [0; N],
    }
}
