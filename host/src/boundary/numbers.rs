//! Streams of numbers. A number lies in a channel as it does in memory, so that an element is its bytes. See the
//! safety argument in the parent module for [`Element`].

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use backplane_abi::bytemuck::{self, Pod, Zeroable};
use wasmtime::{
    Result, StoreContextMut, ValRaw, bail,
    component::{
        __internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext},
        ComponentType, Destination, Lift, Lower, Source, StreamConsumer, StreamProducer,
        StreamResult, VecBuffer,
    },
};

use super::{
    misfit,
    pipe::{CHUNK, In, Out},
};

/// A number of `W` bytes, by its bytes.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(super) struct Element<const W: usize>([u8; W]);

// SAFETY: an array of bytes and nothing else.
unsafe impl<const W: usize> Zeroable for Element<W> {}
// SAFETY: as above.
unsafe impl<const W: usize> Pod for Element<W> {}

// SAFETY: `typecheck` accepts every type because the plan has chosen `W` by the runtime type of the stream's
// elements, a number of that width: size and alignment are those of the canonical ABI. It never passes flat.
unsafe impl<const W: usize> ComponentType for Element<W> {
    type Lower = [ValRaw; 1];
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo {
        size32: W as u32,
        align32: W as u32,
        size64: W as u32,
        align64: W as u32,
        flat_count: Some(1),
    };
    const MAY_REQUIRE_REALLOC: bool = false;

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: every pattern of bytes is an element, and none but its own are read.
unsafe impl<const W: usize> Lift for Element<W> {
    fn linear_lift_from_flat(
        _: &mut LiftContext<'_>,
        _: InterfaceType,
        _: &Self::Lower,
    ) -> Result<Self> {
        misfit()
    }

    fn linear_lift_from_memory(
        _: &mut LiftContext<'_>,
        _: InterfaceType,
        bytes: &[u8],
    ) -> Result<Self> {
        match bytes.first_chunk() {
            Some(bytes) => Ok(Self(*bytes)),
            None => misfit(),
        }
    }
}

// SAFETY: exactly the bytes of the elements are written, through a checked slice.
unsafe impl<const W: usize> Lower for Element<W> {
    fn linear_lower_to_flat<T>(
        &self,
        _: &mut LowerContext<'_, T>,
        _: InterfaceType,
        _: &mut std::mem::MaybeUninit<Self::Lower>,
    ) -> Result<()> {
        misfit()
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
    ) -> Result<()> {
        Self::linear_store_list_to_memory(cx, ty, offset, std::slice::from_ref(self))
    }

    fn linear_store_list_to_memory<T>(
        cx: &mut LowerContext<'_, T>,
        _: InterfaceType,
        offset: usize,
        items: &[Self],
    ) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(items);
        let end = offset.saturating_add(bytes.len());
        match cx.as_slice_mut().get_mut(offset..end) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Ok(())
            }
            None => bail!("the elements of a stream would lie outside of the memory"),
        }
    }
}

pub(super) struct BytesOut(pub(super) Out);

impl<D: 'static> StreamConsumer<D> for BytesOut {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let mut source = source.as_direct(store);
        let offered = source.remaining();
        let room = match self.0.room(cx, !offered.is_empty(), finish) {
            Ok(room) => room,
            Err(answer) => return answer,
        };
        let taken = offered.get(..room).unwrap_or(offered).to_vec();
        source.mark_read(taken.len());
        self.0.write(taken)
    }
}

pub(super) struct ElementsOut<const W: usize>(pub(super) Out);

impl<D: 'static, const W: usize> StreamConsumer<D> for ElementsOut<W> {
    type Item = Element<W>;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, D>,
        mut source: Source<'_, Element<W>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let offered = source.remaining(&mut store);
        let room = match self.0.room(cx, offered > 0, finish) {
            Ok(room) => room,
            Err(answer) => return answer,
        };
        let mut taken = Vec::<Element<W>>::with_capacity(offered.min((room / W).max(1)));
        source.read(store, &mut taken)?;
        self.0.write(bytemuck::cast_slice(&taken).to_vec())
    }
}

pub(super) struct BytesIn(pub(super) In);

impl<D: 'static> StreamProducer<D> for BytesIn {
    type Item = u8;
    type Buffer = VecBuffer<u8>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        destination: Destination<'a, u8, VecBuffer<u8>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let into = &mut self.0;
        if destination.remaining(&mut store) == Some(0) && into.is_ready() {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let next = match into.next(cx, finish) {
            Ok(next) => next,
            Err(answer) => return answer,
        };
        let mut destination = destination.as_direct(store, CHUNK);
        let place = destination.remaining();
        let count = place.len().min(next.len());
        if let (Some(place), Some(next)) = (place.get_mut(..count), next.get(..count)) {
            place.copy_from_slice(next);
        }
        destination.mark_written(count);
        into.gave(count);
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

pub(super) struct ElementsIn<const W: usize>(pub(super) In);

impl<D: 'static, const W: usize> StreamProducer<D> for ElementsIn<W> {
    type Item = Element<W>;
    type Buffer = VecBuffer<Element<W>>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, Element<W>, VecBuffer<Element<W>>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let into = &mut self.0;
        let wanted = destination.remaining(&mut store);
        if wanted == Some(0) && into.is_ready() {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let next = match into.next(cx, finish) {
            Ok(next) => next,
            Err(answer) => return answer,
        };
        let (elements, odd) = next.as_chunks::<W>();
        if !odd.is_empty() {
            let message =
                format!("a provider wrote a part of an element of {W} bytes into a stream");
            return Poll::Ready(Err(wasmtime::Error::msg(message)));
        }
        let count = elements.len().min(wanted.unwrap_or(CHUNK / W));
        let given: Vec<_> = elements.iter().take(count).map(|bytes| Element(*bytes)).collect();
        into.gave(count * W);
        destination.set_buffer(VecBuffer::from(given));
        Poll::Ready(Ok(StreamResult::Completed))
    }
}
