//! What crosses besides bytes: a message's handles of resources and streams, made into what the other side has.

use std::sync::Arc;

use backplane_wire::Reader;
use smallvec::SmallVec;
use wasmtime::{AsContextMut, Result, StoreContextMut, bail};

use super::{
    FORM, StoreData,
    call::{Failure, FailureKind},
    handles::{Binding, Guard},
    io,
    lift::{Handles, LiftedStream},
    lower::{LoweredHandles, LoweredStreams},
    message::Message,
    readable::Readable,
    shape::{Found, Shape},
};

/// What a message from a provider became.
pub(super) struct Entered {
    /// Representations of what the guest is to own, in order.
    pub(super) handles: LoweredHandles,
    pub(super) streams: LoweredStreams,
}

/// Lets the resources and streams in a provider's message into a guest's store. `given` are the guards of its
/// resources, in order, where they were made before.
pub(super) fn enter<T: StoreData>(
    store: &mut StoreContextMut<'_, T>,
    binding: &Arc<Binding>,
    shape: &Shape,
    message: &[u8],
    given: Option<SmallVec<[Guard; 2]>>,
) -> Result<Entered> {
    let mut all = SmallVec::<[Found; 4]>::new();
    shape.handles(&mut Reader::new(message, FORM), &mut |found| all.push(found))?;
    let mut given = given.map(IntoIterator::into_iter);
    // Those that an error leaves behind are released with the rest.
    let mut guard = |resource, handle| match &mut given {
        Some(given) => given.next(),
        None => Some(Guard::new(Arc::clone(binding), resource, handle)),
    };
    let guards: SmallVec<[Option<Guard>; 4]> = all
        .iter()
        .map(|found| match *found {
            Found::Own(resource, handle) => guard(resource, handle),
            Found::Borrow(..) | Found::Stream(..) | Found::Io(..) => None,
        })
        .collect();
    let mut entered = Entered { handles: LoweredHandles::new(), streams: None };
    for (found, guard) in all.into_iter().zip(guards) {
        match (found, guard) {
            (Found::Own(..), Some(guard)) => {
                entered.handles.push(store.data_mut().boundary().handles.insert(guard)?);
            }
            // The link step refuses functions that lend to the guest.
            (Found::Own(..) | Found::Borrow(..), _) => {
                bail!("a resource that the provider does not have")
            }
            (Found::Stream(kind, handle), _) => {
                let channel = binding.callee().streams().and_then(|streams| streams.take(handle));
                let Some(channel) = channel else { return absent() };
                let readable = Readable::open(store.as_context_mut(), kind, channel)?;
                entered.streams.get_or_insert_default().push(readable);
            }
            (Found::Io(kind, handle), _) => {
                let Some(streams) = binding.callee().streams() else { return absent() };
                let ending = store.data_mut().boundary().ending.clone();
                let table = store.data_mut().table();
                match kind.enter(table, streams, handle, &ending)? {
                    Some(rep) => entered.handles.push(rep),
                    None => return absent(),
                }
            }
        }
    }
    Ok(entered)
}

#[cold]
fn absent<T>() -> Result<T> {
    bail!("a stream that the provider does not have")
}

/// Gives the streams in a message that came out of a guest channels; the provider gets the handles of its ends.
/// What is left are the resources of the provider's own.
pub(super) fn leave<T: StoreData>(
    store: &mut StoreContextMut<'_, T>,
    binding: &Arc<Binding>,
    message: &mut Message,
    handles: &mut Handles,
) -> Result<(), Failure> {
    let failed = |error: wasmtime::Error| Failure {
        kind: FailureKind::Other,
        message: format!("a stream could not be handed over: {error:#}"),
    };
    let Some(streams) = binding.callee().streams() else {
        let message = "it takes no streams".to_owned();
        return Err(Failure { kind: FailureKind::Unimplemented, message });
    };
    let mut patch = |position: usize, handle: u64| {
        let bytes = handle.to_le_bytes();
        if let Some(place) = message.as_mut_slice().get_mut(position..position + bytes.len()) {
            place.copy_from_slice(&bytes);
        }
    };
    for LiftedStream { position, stream } in handles.streams.drain(..) {
        let channel = stream.pipe(store.as_context_mut()).map_err(failed)?;
        patch(position, streams.give(channel));
    }
    for handle in std::mem::take(&mut handles.resources) {
        match io::Kind::of_type(handle.ty) {
            Some(kind) => {
                let table = store.data_mut().table();
                patch(handle.position, kind.leave(table, streams, handle.rep).map_err(failed)?);
            }
            None => handles.resources.push(handle),
        }
    }
    Ok(())
}
