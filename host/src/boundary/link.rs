//! Linking: a component's import is defined in the runtime's linker, function by function.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use backplane_abi::CallContext;
use wasmtime::{
    AsContextMut, Result, StoreContextMut,
    component::{Accessor, Linker, LinkerInstance, ResourceType},
};

use super::{
    StoreData,
    call::Answer,
    function::{Function, ResourceEntry},
    handles::Binding,
    lift::RawArgs,
    lower::RawResults,
    shape::Shape,
    types::{FunctionType, ResourceName},
};

/// An identity for resource types, unique in the process. A provider has one for each version of each
/// resource type that it makes, so that no other's handle is ever taken for one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResourceIdentity(u32);

impl ResourceIdentity {
    /// One that nobody has.
    pub fn unique() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    fn runtime_type(self) -> ResourceType {
        ResourceType::host_dynamic(self.0)
    }
}

/// A resource type of a binding.
#[derive(Debug, Clone)]
pub struct LinkedResource {
    /// The type, by the interface that defines it.
    pub name: ResourceName,
    /// Its number at the provider.
    pub number: u32,
    /// What tells it from every other type.
    pub identity: ResourceIdentity,
}

/// An import with what it is linked to. Types have been compared before.
#[derive(Debug)]
pub struct LinkedImport<'a> {
    /// The import's name in the component.
    pub name: &'a str,
    /// Its functions, each with its number at the provider.
    pub functions: &'a [(String, FunctionType, u32)],
    /// The resource types that the import has to define.
    pub defines: &'a [LinkedResource],
    /// Every resource type of the binding that the functions may use.
    pub resources: &'a [LinkedResource],
    /// Who answers.
    pub binding: &'a Arc<Binding>,
}

/// Defines an import in a linker.
///
/// # Errors
///
/// When the linker refuses it: it has the name already, or its engine does not do `async func`s.
pub fn define<T: StoreData>(linker: &mut Linker<T>, import: &LinkedImport<'_>) -> Result<()> {
    let resources: Arc<[ResourceEntry]> = import
        .resources
        .iter()
        .map(|r| ResourceEntry { ty: r.identity.runtime_type(), number: r.number })
        .collect();
    let number =
        |name: &ResourceName| import.resources.iter().find(|r| r.name == *name).map(|r| r.number);
    let mut instance = linker.instance(import.name)?;
    for defined in import.defines {
        let ty = defined.identity.runtime_type();
        instance.resource(&defined.name.name, ty, |mut store, rep| {
            // Dropping the guard releases the resource in the provider.
            drop(store.data_mut().boundary().handles.remove(rep)?);
            Ok(())
        })?;
    }
    for (name, ty, function) in import.functions {
        let shape = match &ty.result {
            Some(result) if result.has_own() => match Shape::of(result, &number) {
                Some(shape) => Some(shape),
                None => wasmtime::bail!(
                    "`{}#{name}` returns a resource that its provider does not make",
                    import.name
                ),
            },
            Some(_) | None => None,
        };
        let function =
            Function::new(import.binding, *function, import.name, name, ty, &resources, shape);
        define_function(&mut instance, name, ty, Arc::new(function))?;
    }
    Ok(())
}

/// One instance of the generic code for each number of flat parameters and results.
fn define_function<T: StoreData>(
    instance: &mut LinkerInstance<'_, T>,
    name: &str,
    ty: &FunctionType,
    function: Arc<Function>,
) -> Result<()> {
    // What does not fit flat always comes in memory; any number will do for it, and 0 asks for
    // nothing.
    let params = ty.flat_params().unwrap_or(0);
    let results = ty.flat_result().unwrap_or(0);
    macro_rules! by_count {
        ($($n:literal)*) => {
            match (params, results, ty.is_async) {
                $(
                    ($n, 0, false) => define_sync::<T, $n, 0>(instance, name, function),
                    ($n, 1, false) => define_sync::<T, $n, 1>(instance, name, function),
                    ($n, 0, true) => define_async::<T, $n, 0>(instance, name, function),
                    ($n, 1, true) => define_async::<T, $n, 1>(instance, name, function),
                )*
                _ => wasmtime::bail!("`{name}` has {params} flat parameters and {results} results"),
            }
        };
    }
    by_count!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
}

/// Deadline and trace of the request that calls, where they are not those of the store: the one whose
/// task the call stack begins with.
fn context<T: StoreData>(store: &mut StoreContextMut<'_, T>) -> Result<Option<CallContext>> {
    if !store.data_mut().boundary().is_shared() {
        return Ok(None);
    }
    let task = store.async_call_stack()?.last();
    Ok(task.and_then(|task| store.data_mut().boundary().context_of(task)))
}

/// A WIT `func`: the guest waits, and with it its store.
fn define_sync<T: StoreData, const N: usize, const M: usize>(
    instance: &mut LinkerInstance<'_, T>,
    name: &str,
    function: Arc<Function>,
) -> Result<()> {
    type Call<'a, const M: usize> = Box<dyn Future<Output = Result<RawResults<M>>> + Send + 'a>;
    instance.func_wrap_async(
        name,
        move |mut store: StoreContextMut<'_, T>, args: RawArgs<N>| -> Call<'_, M> {
            let context = match context(&mut store) {
                Ok(context) => context,
                Err(error) => return Box::new(std::future::ready(Err(error))),
            };
            let state = store.data_mut().boundary();
            // The call is made here, so that an answer at hand costs no count of a shared pointer.
            let outcome = match function.call(state, context, args) {
                Ok(Answer::Ready(message)) => function.results(state, message),
                Ok(Answer::Failed(failure)) => function.failed(failure),
                Err(error) => Err(function.refused(error)),
                Ok(Answer::Pending(answer)) => {
                    let function = Arc::clone(&function);
                    return Box::new(async move {
                        match function.wait(answer).await {
                            Ok(message) => function.results(store.data_mut().boundary(), message),
                            Err(failure) => function.failed(failure),
                        }
                    });
                }
            };
            Box::new(std::future::ready(outcome))
        },
    )
}

/// A WIT `async func`: the guest goes on while the call is pending.
fn define_async<T: StoreData, const N: usize, const M: usize>(
    instance: &mut LinkerInstance<'_, T>,
    name: &str,
    function: Arc<Function>,
) -> Result<()> {
    type Call<'a, const M: usize> =
        Pin<Box<dyn Future<Output = Result<RawResults<M>>> + Send + 'a>>;
    instance.func_wrap_concurrent(
        name,
        move |store: &Accessor<T>, args: RawArgs<N>| -> Call<'_, M> {
            let function = Arc::clone(&function);
            Box::pin(async move {
                let answer = store.with(|mut access| {
                    let mut store = access.as_context_mut();
                    let context = context(&mut store)?;
                    Ok::<_, wasmtime::Error>(function.call(
                        store.data_mut().boundary(),
                        context,
                        args,
                    ))
                })?;
                let message = match answer {
                    Ok(Answer::Ready(message)) => Ok(message),
                    Ok(Answer::Pending(answer)) => function.wait(answer).await,
                    Ok(Answer::Failed(failure)) => Err(failure),
                    Err(error) => return Err(function.refused(error)),
                };
                match message {
                    Ok(message) => store.with(|mut access| {
                        let mut store = access.as_context_mut();
                        function.results(store.data_mut().boundary(), message)
                    }),
                    Err(failure) => function.failed(failure),
                }
            })
        },
    )
}
