//! Calls of a guest's exports: a provider's wire values in, the guest's results out.
//!
//! The counterpart of [`link`](super::link). Arguments are lowered and results lifted by the types that do
//! the same for imports, with the roles swapped.

use std::sync::Arc;

use backplane_abi::Buffer;
use backplane_wire::Reader;
use futures::future::BoxFuture;
use smallvec::SmallVec;
use wasmtime::{
    AsContextMut, Result, Store, StoreContextMut,
    component::{
        Accessor, ComponentExportIndex, ComponentNamedList, Func, GuestTaskId, Instance, Lower,
    },
};

use super::{
    FORM, MOST_FLAT, StoreData,
    call::{Failure, FailureKind},
    crossing::{self, Entered},
    handles::{Binding, Guard},
    lift::{Lifted, RawLifted},
    link::LinkedResource,
    lower::{LoweredHandles, RawLowered, Spilled, ToLower},
    names,
    resource::ResourceEntry,
    shape::{Found, Shape},
    size,
    types::{FunctionType, ResourceName, Type},
};

/// A function that a component exports, as a provider calls it. Settled when the workload is linked.
pub struct Export<T: 'static> {
    index: ComponentExportIndex,
    interface: String,
    function: String,
    binding: Arc<Binding>,
    /// The binding's resource types that the guest may return.
    resources: Arc<[ResourceEntry]>,
    /// Where the owned handles are in the arguments, if they may hold any.
    shape: Option<Shape>,
    returns_streams: bool,
    id: u32,
    alone: Alone<T>,
    beside: Beside<T>,
}

/// How the runtime makes a call while nothing else runs in the store.
type Alone<T> = for<'a> fn(Func, StoreContextMut<'a, T>, ToLower) -> BoxFuture<'a, Result<Lifted>>;

/// How it begins one while others may run.
type Beside<T> = for<'a> fn(
    Func,
    &'a Accessor<T>,
    StoreContextMut<'_, T>,
    ToLower,
) -> Result<(GuestTaskId, BoxFuture<'a, Result<Lifted>>)>;

/// What a provider says of a function that it wants to call.
#[derive(Debug, Clone)]
pub struct Called<'a> {
    /// The interface, as the provider names it.
    pub interface: &'a str,
    /// The function.
    pub function: &'a str,
    /// Its type: the component's and the provider's are the same.
    pub ty: &'a FunctionType,
    /// The resource types of the provider's that it may use.
    pub resources: &'a [LinkedResource],
    /// Who calls.
    pub binding: &'a Arc<Binding>,
}

/// Why a function cannot be called, whatever the component exports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// A type that does not cross.
    #[error("it uses {0}, which this host does not carry to a component's export")]
    Unsupported(String),
    /// Too much is passed.
    #[error(
        "its parameters take {size} bytes in memory, at most {MOST_BYTES} are carried; pass them in a list"
    )]
    TooLarge {
        /// What they take.
        size: usize,
    },
}

/// Arguments on their way to a guest. Dropped before, they release the resources among them.
pub struct Arguments {
    message: Buffer,
    given: SmallVec<[Guard; 2]>,
}

/// The most bytes of parameters that do not pass flat.
const MOST_BYTES: usize = 8192;

impl<T: StoreData> Export<T> {
    /// Settles how the export at `index` is called.
    ///
    /// # Errors
    ///
    /// [`ExportError`] when its types do not cross.
    pub fn new(index: ComponentExportIndex, called: &Called<'_>) -> Result<Self, ExportError> {
        let Called { interface, function, ty, resources, binding } = called;
        let unsupported = |what: String| Err(ExportError::Unsupported(what));
        if let Some(found) = ty.unsupported() {
            return unsupported(found.to_string());
        }
        let (parameters, result): (Vec<_>, _) =
            (ty.params.iter().map(|(_, ty)| ty).collect(), ty.result.iter());
        if parameters.iter().copied().chain(result).any(Type::has_borrow) {
            return unsupported("a borrowed resource".to_owned());
        }
        let number =
            |name: &ResourceName| resources.iter().find(|r| r.name == *name).map(|r| r.number);
        if ty.has_stream() && binding.callee().streams().is_none() {
            return unsupported("a stream, and its caller takes and makes none".to_owned());
        }
        if ty.result.as_ref().is_some_and(|ty| ty.has_own() && Shape::of(ty, &number).is_none()) {
            return unsupported("a resource that its caller does not make".to_owned());
        }
        let shape = if parameters.iter().any(|ty| ty.has_own() || ty.has_stream()) {
            match Shape::of_all(&parameters, &number) {
                Some(shape) => Some(shape),
                None => return unsupported("a resource that its caller does not make".to_owned()),
            }
        } else {
            None
        };
        let spilled = match ty.flat_params() {
            Some(_) => None,
            None => Some(size::of_record(parameters.into_iter())),
        };
        let (alone, beside) = calls(spilled, ty.flat_result_up_to(MOST_FLAT))?;
        Ok(Self {
            index,
            interface: (*interface).to_owned(),
            function: (*function).to_owned(),
            binding: Arc::clone(binding),
            resources: ResourceEntry::all(resources),
            shape,
            returns_streams: ty.result.iter().any(|ty| ty.has_stream() || ty.has_io()),
            id: names::number(),
            alone,
            beside,
        })
    }

    /// The interface, as the provider names it.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The function.
    pub fn function(&self) -> &str {
        &self.function
    }

    /// Who calls.
    pub fn provider(&self) -> &str {
        self.binding.callee().provider()
    }

    /// The function in an instance; none in one of another component.
    pub fn func(&self, store: impl AsContextMut<Data = T>, instance: &Instance) -> Option<Func> {
        instance.get_func(store, self.index)
    }

    /// Takes arguments over from the provider, and the resources among them.
    ///
    /// # Errors
    ///
    /// [`Failure`] when they are not what the function takes.
    pub fn arguments(&self, message: Buffer) -> Result<Arguments, Failure> {
        let mut given = SmallVec::new();
        if let Some(shape) = &self.shape {
            // Streams enter when there is an instance; until then the provider has them.
            let mut found = |found| {
                if let Found::Own(resource, handle) = found {
                    given.push(Guard::new(Arc::clone(&self.binding), resource, handle));
                }
            };
            let mut reader = Reader::new(&message, FORM);
            shape.handles(&mut reader, &mut found).map_err(|error| self.malformed(&error))?;
        }
        Ok(Arguments { message, given })
    }

    fn malformed(&self, error: &dyn std::fmt::Display) -> Failure {
        let Self { interface, function, .. } = self;
        Failure {
            kind: FailureKind::BadArguments,
            message: format!("arguments of `{interface}#{function}`: {error}"),
        }
    }

    /// Calls the guest and waits for its results. What it does behind them, in an engine with component-model
    /// async, stands still until the store is polled again.
    pub async fn call(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        arguments: Arguments,
    ) -> Result<Buffer>
    where
        T: Send,
    {
        let mut store = store.as_context_mut();
        let (func, values) = self.prepare(&mut store, instance, arguments)?;
        let lifted = (self.alone)(func, store.as_context_mut(), values).await;
        self.received(&mut store, lifted)
    }

    /// Begins a call of the guest beside others; the future ends when it has its result.
    pub fn begin<'a>(
        &'a self,
        accessor: &'a Accessor<T>,
        instance: &Instance,
        arguments: Arguments,
    ) -> Result<(GuestTaskId, impl Future<Output = Result<Buffer>> + Send + use<'a, T>)>
    where
        T: Send,
    {
        let (task, lifted) = accessor.with(|mut access| {
            let mut store = access.as_context_mut();
            let (func, values) = self.prepare(&mut store, instance, arguments)?;
            (self.beside)(func, accessor, store, values)
        })?;
        Ok((task, async move {
            let lifted = lifted.await;
            accessor.with(|mut access| self.received(&mut access.as_context_mut(), lifted))
        }))
    }

    /// The resources among the arguments enter the store's table.
    fn prepare(
        &self,
        store: &mut StoreContextMut<'_, T>,
        instance: &Instance,
        arguments: Arguments,
    ) -> Result<(Func, ToLower)> {
        let Some(func) = self.func(&mut *store, instance) else {
            wasmtime::bail!("the component has no function at the place of its export");
        };
        let Arguments { message, given } = arguments;
        let Entered { handles, streams } = match &self.shape {
            Some(shape) => crossing::enter(store, &self.binding, shape, &message, Some(given))?,
            None => Entered { handles: LoweredHandles::new(), streams: None },
        };
        Ok((func, ToLower { message, handles, streams, function: self.id }))
    }

    /// The guest's results for the provider, to which the handles among them go back.
    fn received(
        &self,
        store: &mut StoreContextMut<'_, T>,
        lifted: Result<Lifted>,
    ) -> Result<Buffer> {
        let Lifted { mut message, handles } = match lifted {
            Ok(lifted) => lifted,
            Err(error) => return Err(self.explained(error)),
        };
        let Some(mut handles) = handles else { return Ok(message.into_buffer()) };
        if self.returns_streams {
            crossing::leave(store, &self.binding, &mut message, &mut handles)?;
        }
        let mut given = SmallVec::new();
        let table = &mut store.data_mut().boundary().handles;
        let own = (&*self.resources, &self.binding);
        table.exchange(own, message.as_mut_slice(), &handles.resources, &mut given)?;
        given.into_iter().for_each(Guard::surrender);
        Ok(message.into_buffer())
    }

    /// An error of a call. That of a malformed argument is the provider's.
    #[cold]
    fn explained(&self, error: wasmtime::Error) -> wasmtime::Error {
        match error.downcast_ref::<backplane_wire::Error>() {
            Some(malformed) => wasmtime::Error::new(self.malformed(malformed)),
            None => error,
        }
    }
}

/// One instance of the generic code for each way that arguments and results pass: arguments flat or, where
/// they have so many bytes, through memory; so many flat results, or none where there are more.
fn calls<T: StoreData + Send>(
    spilled: Option<usize>,
    results: Option<usize>,
) -> Result<(Alone<T>, Beside<T>), ExportError> {
    macro_rules! by_results {
        ($params:ident $($n:literal)*) => {
            match results {
                $(Some($n) => $params::calls::<T, $n>(),)*
                // More than pass flat: the runtime takes the way through memory.
                _ => $params::calls::<T, { MOST_FLAT + 1 }>(),
            }
        };
    }
    macro_rules! by_count {
        ($params:ident) => {
            by_results!($params 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
        };
    }
    Ok(match spilled {
        None => by_count!(flat),
        Some(..=256) => by_count!(small),
        Some(..=MOST_BYTES) => by_count!(large),
        Some(size) => return Err(ExportError::TooLarge { size }),
    })
}

macro_rules! parameters {
    ($($(#[$doc:meta])* $name:ident: $wrapper:ident, $size:expr;)*) => {$(
        $(#[$doc])*
        mod $name {
            use super::*;

            pub(super) fn calls<T: StoreData + Send, const M: usize>() -> (Alone<T>, Beside<T>) {
                (
                    |func, store, values| {
                        Box::pin(call_alone::<T, _, M>(func, store, $wrapper::<{ $size }>(values)))
                    },
                    |func, accessor, store, values| {
                        let values = $wrapper::<{ $size }>(values);
                        call_beside::<T, _, M>(func, accessor, store, values)
                    },
                )
            }
        }
    )*};
}

parameters! {
    /// Parameters that pass flat. The runtime passes on as many of the values as the function has.
    flat: RawLowered, MOST_FLAT;
    /// Parameters that pass in a little memory.
    small: Spilled, 256;
    /// Parameters that pass in more.
    large: Spilled, MOST_BYTES as u32;
}

async fn call_alone<T, P, const M: usize>(
    func: Func,
    mut store: StoreContextMut<'_, T>,
    parameters: P,
) -> Result<Lifted>
where
    T: StoreData + Send,
    P: ComponentNamedList + Lower + 'static,
{
    let typed = func.typed::<P, RawLifted<M, Lifted>>(&store)?;
    typed.call_async(&mut store, parameters).await?.take()
}

fn call_beside<'a, T, P, const M: usize>(
    func: Func,
    accessor: &'a Accessor<T>,
    mut store: StoreContextMut<'_, T>,
    parameters: P,
) -> Result<(GuestTaskId, BoxFuture<'a, Result<Lifted>>)>
where
    T: StoreData + Send,
    P: ComponentNamedList + Lower + 'static,
{
    let typed = func.typed::<P, RawLifted<M, Lifted>>(&store)?;
    let call = typed.start_call_concurrent(&mut store, parameters)?;
    let task = call.task();
    Ok((task, Box::pin(async move { typed.finish_call_concurrent(accessor, call).await?.take() })))
}
