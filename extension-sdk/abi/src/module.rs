//! The root module of an extension.

use abi_stable::{
    StableAbi,
    library::RootModule,
    package_version_strings,
    sabi_types::VersionStrings,
    std_types::{RResult, RStr, RString, RVec},
};

use crate::{Exchange, Failed, HostApiRef, HostContext, Outcome};

/// An extension's configured instance; the extension alone knows what it points to.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct InstancePtr(pub *const ());

// SAFETY: the functions of the module that take one may be called from any thread, at the same time.
unsafe impl Send for InstancePtr {}
// SAFETY: as above.
unsafe impl Sync for InstancePtr {}

/// A workload's binding to an instance; the extension alone knows what it points to.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct BindingPtr(pub *const ());

// SAFETY: as for `InstancePtr`.
unsafe impl Send for BindingPtr {}
// SAFETY: as above.
unsafe impl Sync for BindingPtr {}

/// What an extension offers to the host. No function unwinds; every one but `shutdown` and `unbind`
/// may be called from several threads at once.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ExtensionModuleRef)))]
#[sabi(missing_field(option))]
pub struct ExtensionModule {
    /// What the extension is. Called once, first.
    pub describe: extern "C" fn() -> Description,
    /// Makes an instance from its config, a JSON object. Called once for each configured extension,
    /// on a thread that may block. The host API is live from here on.
    pub create: unsafe extern "C" fn(
        host: HostContext,
        api: HostApiRef,
        config: RStr<'_>,
    ) -> RResult<InstancePtr, Failed>,
    /// Makes a binding for a workload. Called when the workload starts, on a thread that may block.
    /// `workload` is the host's number for this binding of it, unique while the host runs; `config` is the link's
    /// config, a JSON object. A binding may be refused, with the reason.
    pub bind: unsafe extern "C" fn(
        instance: InstancePtr,
        workload: u64,
        name: RStr<'_>,
        config: RStr<'_>,
    ) -> RResult<BindingPtr, Failed>,
    /// Calls a function: `function` is its number in the description. The exchange has the arguments,
    /// and takes the results where they are at hand; it is the host's, as the context is, and is not
    /// touched after the function has returned. Does not block.
    pub call: unsafe extern "C" fn(
        binding: BindingPtr,
        function: u32,
        context: &CallContext,
        exchange: &mut Exchange,
    ) -> Outcome,
    /// Drops a resource that a call returned to the workload. `resource` is its type's number in the
    /// description. Called once for each handle, for those too that a trapped or cancelled guest left
    /// behind. Does not block; a handle that is not live is ignored, with a line in the log.
    pub drop_resource: unsafe extern "C" fn(binding: BindingPtr, resource: u32, handle: u64),
    /// Ends a binding. Called once, after its last call has ended and its last resource was dropped.
    pub unbind: unsafe extern "C" fn(binding: BindingPtr),
    /// Ends an instance. Called once, after its last binding has ended, on a thread that may block.
    #[sabi(last_prefix_field)]
    pub shutdown: unsafe extern "C" fn(instance: InstancePtr),
}

impl RootModule for ExtensionModuleRef {
    abi_stable::declare_root_module_statics! {ExtensionModuleRef}
    const BASE_NAME: &'static str = "backplane_extension";
    const NAME: &'static str = "backplane_extension";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// What travels with every call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, Default)]
pub struct CallContext {
    /// When the call must have ended, in nanoseconds of `CLOCK_MONOTONIC`; 0 for never.
    pub deadline: u64,
    /// W3C trace id, or zeroes.
    pub trace_id: [u8; 16],
    /// W3C span id of the caller, or zeroes.
    pub span_id: [u8; 8],
    /// How many calls through the host led to this one; 0 for a workload's own.
    pub depth: u32,
    /// The integer form of arguments and results: 0 local, 1 wRPC.
    pub form: u32,
    /// For later versions; zeroes. The host's functions about streams have the stream's handle in the first
    /// ([`HOST_STREAMS`](crate::HOST_STREAMS)).
    pub reserved: [u64; 4],
}

/// What an extension is.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct Description {
    /// The name it goes by in the host's config.
    pub name: RString,
    /// Its own version.
    pub version: RString,
    /// The functions it answers. A function's number is its place here.
    pub functions: RVec<FunctionEntry>,
    /// The resource types it makes. A type's number is its place here.
    pub resources: RVec<ResourceEntry>,
    /// JSON Schema of the config that `create` takes; empty if it takes none.
    pub config_schema: RString,
    /// JSON Schema of the config that `bind` takes; empty if it takes none.
    pub binding_schema: RString,
}

/// A function of an extension.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct FunctionEntry {
    /// The interface, `ns:package/name@version`.
    pub interface: RString,
    /// The function's name in the component model, such as `open` or `[method]bucket.get`.
    pub name: RString,
}

/// A resource type of an extension.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct ResourceEntry {
    /// The interface that defines it, `ns:package/name@version`.
    pub interface: RString,
    /// The type's name in WIT.
    pub name: RString,
}
