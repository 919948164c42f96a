//! A host for the tests: calls an extension through its module's function pointers, as a real one
//! does, and keeps what it logs.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used
)]

use std::{
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll, Waker},
};

use backplane_sdk::{
    abi::{
        BindingPtr, Buffer, CallContext, Description, Exchange, ExtensionModuleRef, Failed,
        Finished, HOST_EXPORTS, HOST_INTERFACE, HostApi, HostApiRef, HostContext, InstancePtr,
        Level, LogRecord, MetricKind, Outcome,
        abi_stable::{
            prefix_type::PrefixTypeTrait,
            std_types::{RErr, ROk, RStr},
        },
        async_ffi::FfiFuture,
    },
    wire::{self, Decode, Encode, Form},
};

/// What the extension reported.
#[derive(Default)]
pub struct TestHost {
    pub metrics: Mutex<Vec<(MetricKind, String, f64)>>,
    pub invoked: Mutex<Vec<Invoked>>,
    pub lines: Mutex<Vec<Line>>,
}

/// Workload, interface, function, arguments and depth of a call to a workload's export.
pub type Invoked = (u64, String, String, Vec<u8>, u32);

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub level: Level,
    pub target: String,
    pub message: String,
    pub fields: Vec<(String, String)>,
}

unsafe extern "C" fn max_level(_: HostContext) -> Level {
    Level::Debug
}

unsafe extern "C" fn log(host: HostContext, record: &LogRecord<'_>) {
    // SAFETY: `Loaded::new` leaked it.
    let host = unsafe { &*host.0.cast::<TestHost>() };
    let fields = record.fields.iter();
    host.lines.lock().unwrap().push(Line {
        level: record.level,
        target: record.target.to_string(),
        message: record.message.to_string(),
        fields: fields.map(|field| (field.0.to_string(), field.1.to_string())).collect(),
    });
}

unsafe extern "C" fn metric(host: HostContext, kind: MetricKind, name: RStr<'_>, value: f64) {
    // SAFETY: `Loaded::new` leaked it.
    let host = unsafe { &*host.0.cast::<TestHost>() };
    host.metrics.lock().unwrap().push((kind, name.to_string(), value));
}

/// Answers with the arguments.
unsafe extern "C" fn invoke(
    host: HostContext,
    workload: u64,
    interface: RStr<'_>,
    function: RStr<'_>,
    arguments: Buffer,
    context: &CallContext,
) -> FfiFuture<Finished> {
    // SAFETY: `Loaded::new` leaked it.
    let host = unsafe { &*host.0.cast::<TestHost>() };
    if interface == HOST_INTERFACE {
        assert_eq!(function, HOST_EXPORTS);
        return FfiFuture::new(async { ROk(vec![1].into()) });
    }
    let call =
        (workload, interface.to_string(), function.to_string(), arguments.to_vec(), context.depth);
    host.invoked.lock().unwrap().push(call);
    FfiFuture::new(async move { ROk(arguments) })
}

/// An instance of an extension.
pub struct Loaded {
    pub module: ExtensionModuleRef,
    pub host: &'static TestHost,
    pub description: Description,
    instance: InstancePtr,
}

impl Loaded {
    pub fn new(module: ExtensionModuleRef, config: &str) -> Result<Self, Failed> {
        let host: &TestHost = Box::leak(Box::default());
        let api: HostApiRef = HostApi { max_level, log, metric, invoke }.leak_into_prefix();
        let context = HostContext(std::ptr::from_ref(host).cast());
        // SAFETY: the host is leaked.
        let created = unsafe { module.create()(context, api, RStr::from_str(config)) };
        let description = module.describe()();
        created.into_result().map(|instance| Self { module, host, description, instance })
    }

    pub fn bind(&self, config: &str) -> Result<Bound<'_>, Failed> {
        let name = RStr::from_str("workload");
        // SAFETY: the instance is alive.
        let bound = unsafe { self.module.bind()(self.instance, 7, name, RStr::from_str(config)) };
        bound.into_result().map(|pointer| Bound { loaded: self, pointer })
    }

    /// The number of a function, such as `kv/store@1.0.0#open`.
    pub fn function(&self, name: &str) -> u32 {
        let (interface, function) = name.split_once('#').unwrap();
        let position = self.description.functions.iter().position(|entry| {
            entry.interface.ends_with(interface) && entry.name.as_str() == function
        });
        position.unwrap_or_else(|| panic!("no function {name}")) as u32
    }

    /// The number of a resource, such as `kv/store@1.0.0#bucket`.
    pub fn resource(&self, name: &str) -> u32 {
        let (interface, resource) = name.split_once('#').unwrap();
        let position = self.description.resources.iter().position(|entry| {
            entry.interface.ends_with(interface) && entry.name.as_str() == resource
        });
        position.unwrap_or_else(|| panic!("no resource {name}")) as u32
    }

    pub fn shutdown(self) {
        // SAFETY: the instance is alive, and given up here.
        unsafe { self.module.shutdown()(self.instance) }
    }
}

/// What a call answers at once.
pub enum Begun {
    Ready(Buffer),
    Pending(FfiFuture<Finished>),
    Failed(Failed),
}

/// A binding of it.
pub struct Bound<'a> {
    pub loaded: &'a Loaded,
    pointer: BindingPtr,
}

impl Bound<'_> {
    pub fn start(&self, function: u32, arguments: Vec<u8>, context: &CallContext) -> Begun {
        let mut exchange = Exchange { arguments: arguments.into(), results: Buffer::new() };
        let call = self.loaded.module.call();
        // SAFETY: the binding is alive.
        match unsafe { call(self.pointer, function, context, &mut exchange) } {
            Outcome::Ready => Begun::Ready(exchange.results),
            Outcome::Pending(future) => Begun::Pending(future),
            Outcome::Failed(failed) => Begun::Failed(failed),
        }
    }

    /// Calls a function by name and waits for its encoded result.
    pub fn call_bytes(
        &self,
        function: &str,
        arguments: Vec<u8>,
        form: Form,
    ) -> Result<Vec<u8>, Failed> {
        let context = CallContext { form: u32::from(form == Form::Wrpc), ..CallContext::default() };
        match self.start(self.loaded.function(function), arguments, &context) {
            Begun::Ready(bytes) => Ok(bytes.to_vec()),
            Begun::Failed(failed) => Err(failed),
            Begun::Pending(future) => finish(future),
        }
    }

    /// Calls a function by name in both forms; the answers must be equal.
    pub fn call<T>(&self, function: &str, arguments: &impl Encode) -> Result<T, Failed>
    where
        T: for<'a> Decode<'a>,
    {
        let bytes = self.call_bytes(function, wire::to_vec(arguments, Form::Local), Form::Local)?;
        Ok(wire::from_slice(&bytes, Form::Local).unwrap())
    }

    pub fn drop_resource(&self, resource: u32, handle: u64) {
        // SAFETY: the binding is alive.
        unsafe { self.loaded.module.drop_resource()(self.pointer, resource, handle) }
    }

    pub fn unbind(self) {
        // SAFETY: the binding is alive, and given up here.
        unsafe { self.loaded.module.unbind()(self.pointer) }
    }
}

/// Polls a pending call to its end, on a runtime of the host's.
pub fn finish(future: FfiFuture<Finished>) -> Result<Vec<u8>, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(future) {
        ROk(bytes) => Ok(bytes.to_vec()),
        RErr(failed) => Err(failed),
    }
}

/// Polls once.
pub fn poll(future: &mut FfiFuture<Finished>) -> Poll<Finished> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A handle, on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(pub u64);

impl Encode for Handle {
    fn encode(&self, writer: &mut wire::Writer) {
        writer.handle(self.0);
    }
}

impl<'a> Decode<'a> for Handle {
    fn decode(reader: &mut wire::Reader<'a>) -> Result<Self, wire::Error> {
        reader.handle().map(Self)
    }
}
