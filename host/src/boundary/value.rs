//! A value of a stream that is not one of numbers, or of a future, on its way through the runtime.
//!
//! The runtime moves the elements of a stream one by one, by a constant size. Those here have none: the first of
//! several stands for all of them, and is lifted or lowered as a list is. In a channel they lie as a list does in a
//! message, its length before them. See the safety argument in the parent module.

use std::{
    cell::RefCell,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use backplane_abi::Buffer;
use backplane_wire::{Problem, Reader};
use wasmtime::{
    AsContextMut, Result, ValRaw, bail,
    component::{
        __internal::{CanonicalAbiInfo, ComponentTypes, InstanceType, InterfaceType},
        ComponentType, ReadBuffer, Source, WriteBuffer,
    },
};

use super::{ABI_BY_RUNTIME_TYPE, FORM, plan::Plan};

/// One of several values, or the only one.
pub(super) struct Value(Option<Arc<Chunk>>);

// SAFETY: `typecheck` accepts every type because the walks follow the runtime type of the stream's elements. The
// constant size of 0 is never used to touch memory. It never passes flat.
unsafe impl ComponentType for Value {
    type Lower = [ValRaw; 1];
    const ABI: CanonicalAbiInfo = ABI_BY_RUNTIME_TYPE;

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

/// The plan of a stream's elements. A stream may be handed on to where its type has another number.
#[derive(Debug, Default)]
pub(super) struct ElementPlan(Mutex<Option<(InterfaceType, Arc<Plan>)>>);

impl ElementPlan {
    pub(super) fn of(&self, types: &ComponentTypes, ty: InterfaceType) -> Result<Arc<Plan>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, plan)) = &*known
            && *of == ty
        {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(Plan::new(types, ty)?);
        *known = Some((ty, Arc::clone(&plan)));
        Ok(plan)
    }
}

/// Values that a provider has written, of which a guest has taken some.
#[derive(Debug)]
pub(super) struct Chunk {
    message: Buffer,
    plan: Arc<ElementPlan>,
    /// Where the next value begins.
    at: AtomicUsize,
    /// How many there are from there on.
    left: AtomicUsize,
    count: usize,
}

impl Chunk {
    /// Takes what was written over.
    pub(super) fn new(message: Buffer, plan: &Arc<ElementPlan>) -> Result<Self> {
        let mut reader = Reader::new(&message, FORM);
        let count = reader.length().map_err(malformed)?;
        if count == 0 {
            return Err(malformed(reader.error(Problem::Truncated { needed: 1, left: 0 })));
        }
        let at = reader.offset().into();
        Ok(Self { message, plan: Arc::clone(plan), at, left: count.into(), count })
    }

    /// How many values are left.
    pub(super) fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// So many values of it, for the runtime.
    pub(super) fn values(self: &Arc<Self>, count: usize) -> Vec<Value> {
        let mut values = Vec::with_capacity(count);
        values.resize_with(count, || Value(None));
        if let Some(first) = values.first_mut() {
            first.0 = Some(Arc::clone(self));
        }
        values
    }

    /// The one value of a future.
    pub(super) fn only(self) -> Result<Value> {
        match self.count {
            1 => Ok(Value(Some(Arc::new(self)))),
            count => bail!("a provider wrote {count} values into a future"),
        }
    }

    /// Takes the next `count` values. `take` reads them from where its reader stands, by their plan.
    pub(super) fn take(
        &self,
        types: &ComponentTypes,
        ty: InterfaceType,
        count: usize,
        take: impl FnOnce(&Plan, &mut Reader<'_>) -> Result<()>,
    ) -> Result<()> {
        let plan = self.plan.of(types, ty)?;
        let mut reader = Reader::new(&self.message, FORM);
        reader.raw(self.at.load(Ordering::Relaxed))?;
        let Some(left) = self.left().checked_sub(count) else { return gone() };
        take(&plan, &mut reader).map_err(explained)?;
        if left == 0 {
            reader.finish().map_err(malformed)?;
        }
        self.at.store(reader.offset(), Ordering::Relaxed);
        self.left.store(left, Ordering::Relaxed);
        Ok(())
    }

    /// All of it, as it was written.
    fn whole(&self) -> Result<Vec<u8>> {
        if self.left() != self.count {
            // What is left is not a list of its own.
            bail!("a stream of which a part of a chunk was read cannot be given away");
        }
        Ok(self.message.to_vec())
    }
}

impl Value {
    /// The chunk of the values that begin with this one.
    pub(super) fn chunk(values: &[Self]) -> Result<&Chunk> {
        match values.first() {
            Some(Self(Some(chunk))) => Ok(chunk),
            Some(Self(None)) | None => gone(),
        }
    }

    /// One that was lifted.
    pub(super) fn lifted() -> Self {
        Self(None)
    }
}

#[cold]
fn gone<T>() -> Result<T> {
    bail!("the values of a stream are gone")
}

#[cold]
fn malformed(error: backplane_wire::Error) -> wasmtime::Error {
    wasmtime::Error::msg(format!(
        "a provider wrote malformed values into a stream or a future: {error}"
    ))
}

/// Errors of the guest's own `realloc` stay as they are.
#[cold]
fn explained(error: wasmtime::Error) -> wasmtime::Error {
    match error.downcast_ref::<backplane_wire::Error>() {
        Some(error) => malformed(*error),
        None => error,
    }
}

/// Values that are being lifted out of a guest.
struct Lifting {
    plan: Arc<ElementPlan>,
    /// How many there will be.
    count: usize,
    message: Option<Vec<u8>>,
}

thread_local! {
    static LIFTING: RefCell<Option<Lifting>> = const { RefCell::new(None) };
}

/// Lifts the values that [`read`] asks for, when the runtime comes to the first of them; `lift` makes the message of so
/// many.
pub(super) fn lifting(
    types: &ComponentTypes,
    ty: InterfaceType,
    lift: impl FnOnce(&Plan, usize) -> Result<Vec<u8>>,
) -> Result<Value> {
    let lifted = LIFTING.try_with(|lifting| -> Result<()> {
        let mut lifting = lifting.borrow_mut();
        let Some(lifting) = &mut *lifting else { return gone() };
        if lifting.message.is_none() {
            let plan = lifting.plan.of(types, ty)?;
            lifting.message = Some(lift(&plan, lifting.count)?);
        }
        Ok(())
    });
    match lifted {
        Ok(lifted) => lifted.map(|()| Value::lifted()),
        Err(_) => gone(),
    }
}

/// Takes `count` values, of which there are as many, out of a guest: the message of them as a list.
pub(super) fn read(
    store: impl AsContextMut,
    source: &mut Source<'_, Value>,
    plan: &Arc<ElementPlan>,
    count: usize,
) -> Result<Vec<u8>> {
    let begun = Lifting { plan: Arc::clone(plan), count, message: None };
    // A thread that ends lifts nothing.
    drop(LIFTING.try_with(|lifting| lifting.replace(Some(begun))));
    let mut taken = Taken { most: count, count: 0, passed: None };
    let read = source.read(store, &mut taken);
    let lifted = LIFTING.try_with(RefCell::take).ok().flatten();
    read?;
    match (taken.passed, lifted.and_then(|lifting| lifting.message)) {
        (Some(chunk), _) => chunk.whole(),
        (None, Some(message)) if taken.count == count => Ok(message),
        (None, _) => gone(),
    }
}

/// Where the runtime puts values that were read.
struct Taken {
    most: usize,
    count: usize,
    /// What they are of, where a provider has written them.
    passed: Option<Arc<Chunk>>,
}

impl ReadBuffer<Value> for Taken {
    fn extend<I: IntoIterator<Item = Value>>(&mut self, values: I) {
        self.count += values.into_iter().count();
    }

    fn remaining_capacity(&self) -> usize {
        self.most.saturating_sub(self.count)
    }

    fn move_from(&mut self, values: &mut dyn WriteBuffer<Value>, count: usize) {
        let chunk = values.remaining().first().and_then(|value| value.0.clone());
        self.passed = self.passed.take().or(chunk);
        self.count += count;
        values.skip(count);
    }
}
