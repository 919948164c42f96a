//! Calls of a guest's exports: wire values of whoever calls in, the guest's results out. Either a provider calls
//! a workload, or a component is a provider itself and workloads call it.
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
    lift::{Hold, Lifted, LiftedOwn, Offered, RawLifted},
    link::LinkedResource,
    lower::{LoweredHandles, LoweredOwn, RawLowered, Spilled, ToLower},
    message::Message,
    misfit, names,
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
    resources: Resources,
    /// Where the owned handles are in the arguments, if they may hold any.
    shape: Option<Shape>,
    returns_streams: bool,
    id: u32,
    alone: Alone<T>,
    beside: Beside<T>,
}

/// Whose the resources are that arguments and results may hold.
enum Resources {
    /// The caller's: those of its types that the guest may return.
    Callers(Arc<[ResourceEntry]>),
    /// The guest's own; where they are in the results, if there may be any.
    Own(Option<Shape>),
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

/// A function of a component that is a provider.
#[derive(Debug, Clone)]
pub struct Served<'a> {
    /// The interface.
    pub interface: &'a str,
    /// The function.
    pub function: &'a str,
    /// Its type.
    pub ty: &'a FunctionType,
    /// The resource types that the component makes, each with its number.
    pub resources: &'a [(ResourceName, u32)],
    /// Who lets go of resources that nobody wants any more.
    pub binding: &'a Arc<Binding>,
}

/// What a function returned. Dropped before its message was taken, it releases the guest's resources in it.
pub struct Results {
    message: Buffer,
    given: SmallVec<[Guard; 2]>,
}

impl Results {
    /// The message; whoever takes it has the resources in it.
    pub fn into_message(self) -> Buffer {
        self.given.into_iter().for_each(Guard::surrender);
        self.message
    }
}

impl From<Buffer> for Results {
    fn from(message: Buffer) -> Self {
        Self { message, given: SmallVec::new() }
    }
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
        let (alone, beside) = calls::<T, Lifted>(spilled, ty.flat_result_up_to(MOST_FLAT))?;
        Ok(Self {
            index,
            interface: (*interface).to_owned(),
            function: (*function).to_owned(),
            binding: Arc::clone(binding),
            resources: Resources::Callers(ResourceEntry::all(resources)),
            shape,
            returns_streams: ty.result.iter().any(|ty| ty.has_stream() || ty.has_io()),
            id: names::number(),
            alone,
            beside,
        })
    }

    /// Settles how a function that the component provides is called.
    ///
    /// # Errors
    ///
    /// [`ExportError`] when its types do not cross.
    pub fn served(index: ComponentExportIndex, served: &Served<'_>) -> Result<Self, ExportError> {
        let Served { interface, function, ty, resources, binding } = served;
        let unsupported = |what: String| Err(ExportError::Unsupported(what));
        if let Some(found) = ty.unsupported() {
            return unsupported(found.to_string());
        }
        if ty.has_stream() {
            return unsupported("a stream".to_owned());
        }
        let number = |name: &ResourceName| {
            resources.iter().find(|(known, _)| known == name).map(|(_, number)| *number)
        };
        let foreign = || ExportError::Unsupported("a resource of another interface".to_owned());
        let parameters: Vec<_> = ty.params.iter().map(|(_, ty)| ty).collect();
        let has_handles = |ty: &&Type| ty.has_own() || ty.has_borrow();
        let shape = match parameters.iter().any(has_handles) {
            true => Some(Shape::of_all(&parameters, &number).ok_or_else(foreign)?),
            false => None,
        };
        let returned = match ty.result.as_ref().filter(has_handles) {
            Some(result) => Some(Shape::of(result, &number).ok_or_else(foreign)?),
            None => None,
        };
        let spilled = match ty.flat_params() {
            Some(_) => None,
            None => Some(size::of_record(parameters.into_iter())),
        };
        let (alone, beside) = calls::<T, Offered>(spilled, ty.flat_result_up_to(MOST_FLAT))?;
        Ok(Self {
            index,
            interface: (*interface).to_owned(),
            function: (*function).to_owned(),
            binding: Arc::clone(binding),
            resources: Resources::Own(returned),
            shape,
            returns_streams: false,
            id: names::number(),
            alone,
            beside,
        })
    }

    /// Whether resources of the guest's own are passed to it or returned.
    pub fn has_own(&self) -> bool {
        matches!(&self.resources, Resources::Own(returned) if returned.is_some() || self.shape.is_some())
    }

    /// Whether the guest's own resources that the arguments name are all there, in the instance of that store.
    ///
    /// # Errors
    ///
    /// [`Failure`] with what is wrong; the guest need not be entered then.
    pub fn check(&self, data: &mut T, arguments: &Arguments) -> Result<(), Failure> {
        match (&self.resources, &self.shape) {
            (Resources::Own(_), Some(shape)) => {
                let checked = data.boundary().owned.check(shape, &arguments.message);
                checked.map_err(|failure| self.named(failure))
            }
            _ => Ok(()),
        }
    }

    #[cold]
    fn named(&self, failure: Failure) -> Failure {
        let Self { interface, function, .. } = self;
        let message = format!("arguments of `{interface}#{function}`: {}", failure.message);
        Failure { message, ..failure }
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
    ) -> Result<Results>
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
    ) -> Result<(GuestTaskId, impl Future<Output = Result<Results>> + Send + use<'a, T>)>
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
        let mut own: LoweredOwn = None;
        let Entered { handles, streams } = match &self.shape {
            Some(shape) if matches!(self.resources, Resources::Own(_)) => {
                let owned = &mut store.data_mut().boundary().owned;
                let found = owned.enter(shape, &message).map_err(|failure| self.named(failure))?;
                own = Some(Box::new(found));
                // The guest has them again.
                given.into_iter().for_each(Guard::surrender);
                Entered { handles: LoweredHandles::new(), streams: None }
            }
            Some(shape) => crossing::enter(store, &self.binding, shape, &message, Some(given))?,
            None => Entered { handles: LoweredHandles::new(), streams: None },
        };
        Ok((func, ToLower { message, handles, streams, own, function: self.id }))
    }

    /// The guest's results for the provider, to which the handles among them go back.
    fn received(
        &self,
        store: &mut StoreContextMut<'_, T>,
        lifted: Result<Lifted>,
    ) -> Result<Results> {
        let Lifted { mut message, handles } = match lifted {
            Ok(lifted) => lifted,
            Err(error) => return Err(self.explained(error)),
        };
        let Some(mut handles) = handles else {
            return Ok(message.into_buffer().into());
        };
        let resources = match &self.resources {
            Resources::Callers(resources) => resources,
            Resources::Own(Some(shape)) => return self.keep(store, shape, message, &handles.own),
            Resources::Own(None) => return misfit(),
        };
        if self.returns_streams {
            crossing::leave(store, &self.binding, &mut message, &mut handles)?;
        }
        let mut given = SmallVec::new();
        let table = &mut store.data_mut().boundary().handles;
        let theirs = (&**resources, &self.binding);
        table.exchange(theirs, message.as_mut_slice(), &handles.resources, &mut given)?;
        given.into_iter().for_each(Guard::surrender);
        Ok(message.into_buffer().into())
    }

    /// Keeps the guest's own resources that it returned, for whoever gets the message.
    fn keep(
        &self,
        store: &mut StoreContextMut<'_, T>,
        shape: &Shape,
        mut message: Message,
        returned: &[LiftedOwn],
    ) -> Result<Results> {
        let mut numbers = SmallVec::<[u32; 2]>::new();
        let mut found = |found| {
            if let Found::Own(number, _) = found {
                numbers.push(number);
            }
        };
        shape.handles(&mut Reader::new(message.as_mut_slice(), FORM), &mut found)?;
        let owned = &mut store.data_mut().boundary().owned;
        let left = owned.leave(&numbers, &mut message, returned)?;
        let guard = |(number, handle)| Guard::new(Arc::clone(&self.binding), number, handle);
        let given = left.into_iter().map(guard).collect();
        Ok(Results { message: message.into_buffer(), given })
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

/// Drops a resource of the guest's own that nobody holds any more: its destructor runs in the instance. One that is
/// not there is gone already.
pub async fn drop_own<T: StoreData + Send>(store: &mut Store<T>, handle: u64) -> Result<()> {
    match store.data_mut().boundary().owned.remove(handle) {
        Some(resource) => resource.resource_drop_async(store).await,
        None => Ok(()),
    }
}

/// One instance of the generic code for each way that arguments and results pass: arguments flat or, where
/// they have so many bytes, through memory; so many flat results, or none where there are more.
fn calls<T: StoreData + Send, H: Hold>(
    spilled: Option<usize>,
    results: Option<usize>,
) -> Result<(Alone<T>, Beside<T>), ExportError> {
    macro_rules! by_results {
        ($params:ident $($n:literal)*) => {
            match results {
                $(Some($n) => $params::calls::<T, H, $n>(),)*
                // More than pass flat: the runtime takes the way through memory.
                _ => $params::calls::<T, H, { MOST_FLAT + 1 }>(),
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

            pub(super) fn calls<T: StoreData + Send, H: Hold, const M: usize>()
            -> (Alone<T>, Beside<T>) {
                (
                    |func, store, values| {
                        Box::pin(call_alone::<T, _, H, M>(func, store, $wrapper::<{ $size }>(values)))
                    },
                    |func, accessor, store, values| {
                        let values = $wrapper::<{ $size }>(values);
                        call_beside::<T, _, H, M>(func, accessor, store, values)
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

async fn call_alone<T, P, H, const M: usize>(
    func: Func,
    mut store: StoreContextMut<'_, T>,
    parameters: P,
) -> Result<Lifted>
where
    T: StoreData + Send,
    P: ComponentNamedList + Lower + 'static,
    H: Hold,
{
    let typed = func.typed::<P, RawLifted<M, H>>(&store)?;
    typed.call_async(&mut store, parameters).await?.take()
}

fn call_beside<'a, T, P, H, const M: usize>(
    func: Func,
    accessor: &'a Accessor<T>,
    mut store: StoreContextMut<'_, T>,
    parameters: P,
) -> Result<(GuestTaskId, BoxFuture<'a, Result<Lifted>>)>
where
    T: StoreData + Send,
    P: ComponentNamedList + Lower + 'static,
    H: Hold,
{
    let typed = func.typed::<P, RawLifted<M, H>>(&store)?;
    let call = typed.start_call_concurrent(&mut store, parameters)?;
    let task = call.task();
    Ok((task, Box::pin(async move { typed.finish_call_concurrent(accessor, call).await?.take() })))
}
