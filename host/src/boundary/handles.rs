//! The live handles of a store: which provider made each, and the guard that releases it.
//!
//! A guest's handle stands for a *representation*, the number of a slot here; the provider's own
//! handle never reaches the guest. The runtime runs no destructors when a store is dropped, so it is
//! this table that tells the providers: whatever is live when the table is dropped is released then.

use std::{fmt, sync::Arc};

use metrics::{Gauge, gauge};
use smallvec::SmallVec;

use super::{call::Callee, lift::LiftedHandle, resource::ResourceEntry};
use crate::metric::{CALLS_PENDING, HANDLES};

/// The provider side of a link: who is called, and what makes it another than the next one.
///
/// The interfaces of one resource group share one binding; a handle made by one binding is never
/// given to another.
pub struct Binding {
    callee: Arc<dyn Callee>,
    handles: Gauge,
    pending: Gauge,
}

/// A call that waits, counted as long as this lives.
#[must_use]
pub(super) struct Waiting<'a>(&'a Gauge);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

impl Binding {
    /// The binding that `callee` answers for.
    pub fn new(callee: Arc<dyn Callee>) -> Arc<Self> {
        let provider = callee.provider().to_owned();
        Arc::new(Self {
            callee,
            handles: gauge!(HANDLES.name, "provider" => provider.clone()),
            pending: gauge!(CALLS_PENDING.name, "provider" => provider),
        })
    }

    /// Counts a call that waits for its answer.
    pub(super) fn waits(&self) -> Waiting<'_> {
        self.pending.increment(1);
        Waiting(&self.pending)
    }

    /// Who answers.
    #[inline]
    pub fn callee(&self) -> &dyn Callee {
        &*self.callee
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding").field("provider", &self.callee.provider()).finish()
    }
}

/// A provider's resource that a guest owns, or is about to. Dropping it releases the resource in the
/// provider.
#[derive(Debug)]
pub(super) struct Guard {
    /// None once the provider owns the resource again.
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    binding: Arc<Binding>,
    resource: u32,
    handle: u64,
}

impl Guard {
    pub(super) fn new(binding: Arc<Binding>, resource: u32, handle: u64) -> Self {
        binding.handles.increment(1);
        Self { live: Some(Live { binding, resource, handle }) }
    }

    /// Gives the resource back to the provider, which owns it from here on.
    pub(super) fn surrender(mut self) {
        self.live = None;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.binding.handles.decrement(1);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            live.binding.callee().drop_resource(live.resource, live.handle);
        }
    }
}

/// Why a handle cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HandleError {
    /// No live resource has this representation.
    #[error("the resource handle is not live")]
    Stale,
    /// The resource belongs to another provider, another binding or another type.
    #[error("the resource handle belongs to another provider or is of another type")]
    Foreign,
    /// The store holds as many handles as it may.
    #[error("the instance holds {0} resource handles, as many as it may")]
    TooMany(usize),
}

/// The live handles of a store.
#[derive(Debug)]
pub(super) struct HandleTable {
    slots: Vec<Option<Guard>>,
    free: Vec<u32>,
    limit: usize,
}

impl HandleTable {
    pub(super) fn new(limit: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), limit }
    }

    /// Keeps a resource that the guest is about to own; its representation.
    pub(super) fn insert(&mut self, guard: Guard) -> Result<u32, HandleError> {
        if let Some(rep) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(rep as usize)
        {
            *slot = Some(guard);
            return Ok(rep);
        }
        if self.slots.len() >= self.limit {
            return Err(HandleError::TooMany(self.limit));
        }
        let rep = u32::try_from(self.slots.len()).map_err(|_| HandleError::TooMany(self.limit))?;
        self.slots.push(Some(guard));
        Ok(rep)
    }

    /// The provider's handle for `rep`, if `binding` made it as a resource of type `resource`.
    pub(super) fn get(
        &self,
        rep: u32,
        binding: &Arc<Binding>,
        resource: u32,
    ) -> Result<u64, HandleError> {
        let live = self
            .slots
            .get(rep as usize)
            .and_then(Option::as_ref)
            .and_then(|guard| guard.live.as_ref())
            .ok_or(HandleError::Stale)?;
        if live.resource == resource && Arc::ptr_eq(&live.binding, binding) {
            Ok(live.handle)
        } else {
            Err(HandleError::Foreign)
        }
    }

    /// Puts the provider's handles in the place of the representations in a message that came out of a guest,
    /// and takes those that it gives away into `given`. `own` is who gets the message: the resource types that
    /// it may hold, and whose they are.
    pub(super) fn exchange(
        &mut self,
        (resources, binding): (&[ResourceEntry], &Arc<Binding>),
        message: &mut [u8],
        handles: &[LiftedHandle],
        given: &mut SmallVec<[Guard; 2]>,
    ) -> Result<(), HandleError> {
        for lifted in handles {
            let entry =
                resources.iter().find(|entry| entry.ty == lifted.ty).ok_or(HandleError::Foreign)?;
            let handle = self.get(lifted.rep, binding, entry.number)?;
            let end = lifted.position + size_of::<u64>();
            let Some(place) = message.get_mut(lifted.position..end) else {
                return Err(HandleError::Stale);
            };
            place.copy_from_slice(&handle.to_le_bytes());
            if lifted.owned {
                given.push(self.remove(lifted.rep)?);
            }
        }
        Ok(())
    }

    /// Takes a resource away from the guest.
    pub(super) fn remove(&mut self, rep: u32) -> Result<Guard, HandleError> {
        let guard =
            self.slots.get_mut(rep as usize).and_then(Option::take).ok_or(HandleError::Stale)?;
        self.free.push(rep);
        Ok(guard)
    }
}
