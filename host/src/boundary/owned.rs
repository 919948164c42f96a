//! The resources of a component's own that others hold: they live in its instance, each under a handle that no
//! other resource of the process ever has.
//!
//! A handle is a number and nothing more: the runtime's own handle stays here. One whose instance has ended, or
//! that was given back, is in no table, and so is refused before the guest is entered.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use backplane_wire::Reader;
use smallvec::SmallVec;
use wasmtime::component::ResourceAny;

use super::{
    FORM,
    call::{Failure, FailureKind},
    lift::LiftedOwn,
    message::Message,
    shape::{Found, Shape},
};

/// The live resources of an instance that others hold.
#[derive(Debug, Default)]
pub(super) struct OwnedTable(BTreeMap<u64, Owned>);

#[derive(Debug, Clone, Copy)]
struct Owned {
    resource: ResourceAny,
    /// The number of its type.
    number: u32,
}

/// A resource that a message names: its handle, whether it is given back, and what it is.
type Named = (u64, bool, ResourceAny);

/// A handle that no resource has had.
fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl OwnedTable {
    /// Resources of one instance that others may hold.
    const MOST: usize = 65_536;

    /// Finds what a message for the guest names, and takes out what it gives back to it.
    ///
    /// # Errors
    ///
    /// [`Failure`] when it names what is not there, is of another type, or is given away and used besides; all
    /// is left as it was then.
    pub(super) fn enter(
        &mut self,
        shape: &Shape,
        message: &[u8],
    ) -> Result<SmallVec<[ResourceAny; 2]>, Failure> {
        let found = self.find(shape, message)?;
        for (handle, is_given, _) in &found {
            if *is_given {
                self.0.remove(handle);
            }
        }
        Ok(found.into_iter().map(|(.., resource)| resource).collect())
    }

    /// The same without taking anything.
    pub(super) fn check(&self, shape: &Shape, message: &[u8]) -> Result<(), Failure> {
        self.find(shape, message).map(drop)
    }

    fn find(&self, shape: &Shape, message: &[u8]) -> Result<SmallVec<[Named; 2]>, Failure> {
        let mut all = SmallVec::<[Found; 2]>::new();
        let read = shape.handles(&mut Reader::new(message, FORM), &mut |found| all.push(found));
        read.map_err(|error| refused(FailureKind::BadArguments, &error.to_string()))?;
        let mut found = SmallVec::<[Named; 2]>::new();
        for named in all {
            let (number, handle, is_given) = match named {
                Found::Own(number, handle) => (number, handle, true),
                Found::Borrow(number, handle) => (number, handle, false),
                Found::Stream(..) | Found::Io(..) => {
                    return Err(refused(FailureKind::BadArguments, "a stream, which is not taken"));
                }
            };
            let Some(owned) = self.0.get(&handle) else {
                return Err(refused(
                    FailureKind::Unavailable,
                    "the resource is gone: the extension's instance that made it has ended; open it again",
                ));
            };
            if owned.number != number {
                let what = "the resource is of another type than the function takes";
                return Err(refused(FailureKind::BadArguments, what));
            }
            if found.iter().any(|(other, given, _)| *other == handle && (*given || is_given)) {
                let what = "a resource is given away and used in the same call";
                return Err(refused(FailureKind::BadArguments, what));
            }
            found.push((handle, is_given, owned.resource));
        }
        Ok(found)
    }

    /// Takes over what the guest returned: its place in the message gets the handle.
    ///
    /// # Errors
    ///
    /// When others hold as many as they may.
    pub(super) fn leave(
        &mut self,
        numbers: &[u32],
        message: &mut Message,
        returned: &[LiftedOwn],
    ) -> wasmtime::Result<SmallVec<[(u32, u64); 2]>> {
        let mut left = SmallVec::new();
        if numbers.len() != returned.len() {
            return super::misfit();
        }
        if self.0.len().saturating_add(returned.len()) > Self::MOST {
            wasmtime::bail!(
                "others hold {} resources of the instance, as many as may be",
                Self::MOST
            );
        }
        for (LiftedOwn { position, resource }, number) in returned.iter().zip(numbers) {
            let handle = unique();
            let place = message.as_mut_slice().get_mut(*position..position + size_of::<u64>());
            let Some(place) = place else { return super::misfit() };
            place.copy_from_slice(&handle.to_le_bytes());
            self.0.insert(handle, Owned { resource: *resource, number: *number });
            left.push((*number, handle));
        }
        Ok(left)
    }

    /// Takes one out, to be dropped.
    pub(super) fn remove(&mut self, handle: u64) -> Option<ResourceAny> {
        self.0.remove(&handle).map(|owned| owned.resource)
    }
}

fn refused(kind: FailureKind, message: &str) -> Failure {
    Failure { kind, message: message.to_owned() }
}
