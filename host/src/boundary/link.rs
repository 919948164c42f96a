//! Linking: a component's import is defined in the runtime's linker, function by function.

use std::{
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use wasmtime::{
    AsContextMut, Result, StoreContextMut,
    component::{Accessor, Linker, LinkerInstance},
};

pub use super::resource::{LinkedResource, ResourceIdentity};
use super::{
    StoreData,
    call::Answer,
    function::Function,
    handles::Binding,
    lift::{Kept as KeptArgs, Lifted, RawLifted},
    lower::{KeptResults, RawLowered},
    resource::ResourceEntry,
    shape::Shape,
    types::{FunctionType, ResourceName},
};

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
    let resources = ResourceEntry::all(import.resources);
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
        if ty.has_stream() && import.binding.callee().streams().is_none() {
            wasmtime::bail!(
                "`{}#{name}` has a stream, and its provider takes and makes none",
                import.name
            );
        }
        let shape = match &ty.result {
            Some(result) if result.has_own() || result.has_stream() => {
                match Shape::of(result, &number) {
                    Some(shape) => Some(shape),
                    None => wasmtime::bail!(
                        "`{}#{name}` returns a resource that its provider does not make",
                        import.name
                    ),
                }
            }
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

/// The place of the task that calls, where the store serves several: the one that the call stack begins
/// with.
#[inline]
fn task<T: StoreData>(store: &mut StoreContextMut<'_, T>) -> Result<Option<usize>> {
    if store.data_mut().boundary().is_shared() { shared_task(store) } else { Ok(None) }
}

fn shared_task<T: StoreData>(store: &mut StoreContextMut<'_, T>) -> Result<Option<usize>> {
    let task = store.async_call_stack()?.last();
    Ok(task.and_then(|task| store.data_mut().boundary().place_of(task)))
}

/// A WIT `func`: the guest waits, and with it its store.
fn define_sync<T: StoreData, const N: usize, const M: usize>(
    instance: &mut LinkerInstance<'_, T>,
    name: &str,
    function: Arc<Function>,
) -> Result<()> {
    type Call<'a, T, const M: usize> =
        Box<dyn Future<Output = Result<KeptResults<T, M>>> + Send + 'a>;
    instance.func_wrap_async(
        name,
        move |mut store: StoreContextMut<'_, T>, args: RawLifted<N, KeptArgs>| -> Call<'_, T, M> {
            // The call is made here, so that an answer at hand needs no future: that of `Kept` takes
            // no memory.
            let answer = args.take().and_then(|mut args| {
                let task = task(&mut store)?;
                if function.takes_streams {
                    function.leave(&mut store, &mut args)?;
                }
                function.call(store.data_mut().boundary(), task, args)
            });
            match answer {
                Ok(Answer::Ready) if !function.returns_streams => Box::new(Kept(PhantomData)),
                answer => {
                    let function = Arc::clone(&function);
                    Box::new(async move {
                        let answer = answer?;
                        if !matches!(answer, Answer::Ready) {
                            let deadline = store.data_mut().boundary().context.deadline;
                            let message = function.end(answer, deadline).await?;
                            function.received(store.data_mut().boundary(), message)?;
                        }
                        function.enter(&mut store)?;
                        Ok(KeptResults::new())
                    })
                }
            }
        },
    )
}

/// Results are in the store already.
struct Kept<T, const M: usize>(PhantomData<fn() -> T>);

impl<T, const M: usize> Future for Kept<T, M> {
    type Output = Result<KeptResults<T, M>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(KeptResults::new()))
    }
}

/// A WIT `async func`: the guest goes on while the call is pending.
fn define_async<T: StoreData, const N: usize, const M: usize>(
    instance: &mut LinkerInstance<'_, T>,
    name: &str,
    function: Arc<Function>,
) -> Result<()> {
    type Call<'a, const M: usize> =
        Pin<Box<dyn Future<Output = Result<RawLowered<M>>> + Send + 'a>>;
    instance.func_wrap_concurrent(
        name,
        move |store: &Accessor<T>, args: RawLifted<N, Lifted>| -> Call<'_, M> {
            let function = Arc::clone(&function);
            Box::pin(async move {
                // In one step with the call, for other calls of the store keep theirs there too.
                let (answer, results, deadline) = store.with(|mut access| -> Result<_> {
                    let mut store = access.as_context_mut();
                    let task = task(&mut store)?;
                    let mut args = args.take()?;
                    if function.takes_streams {
                        function.leave(&mut store, &mut args)?;
                    }
                    let state = store.data_mut().boundary();
                    let answer = function.call(state, task, args)?;
                    if function.returns_streams && matches!(answer, Answer::Ready) {
                        function.enter(&mut store)?;
                    }
                    let state = store.data_mut().boundary();
                    Ok((answer, RawLowered(state.take_results()), state.context.deadline))
                })?;
                if let Answer::Ready = answer {
                    return Ok(results);
                }
                let message = function.end(answer, deadline).await?;
                store.with(|mut access| {
                    let mut store = access.as_context_mut();
                    function.received(store.data_mut().boundary(), message)?;
                    if function.returns_streams {
                        function.enter(&mut store)?;
                    }
                    Ok(RawLowered(store.data_mut().boundary().take_results()))
                })
            })
        },
    )
}
