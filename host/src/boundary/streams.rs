//! Streams of numbers: between the runtime's own and the channels that providers read and write.
//!
//! A guest's stream is piped into a channel chunk by chunk, and a provider's channel becomes a stream of the
//! guest's. A number lies in a channel as it does in memory, so that an element is its bytes. See the safety
//! argument in the parent module for `Element`.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use backplane_abi::{
    Buffer,
    bytemuck::{self, Pod, Zeroable},
};
use wasmtime::{
    Result, StoreContextMut, ValRaw, bail,
    component::{
        __internal::{
            CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext,
            wasmtime_environ::component::TypeStreamTableIndex,
        },
        ComponentType, Destination, Lift, Lower, Source, StreamConsumer, StreamProducer,
        StreamReader, StreamResult, VecBuffer,
    },
};

use super::{StoreData, channel::Channel, misfit};

/// Bytes that are read from a guest, or written into one, at once.
const CHUNK: usize = 64 << 10;

/// What a stream is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `u8`, which the runtime lends without a copy.
    Byte,
    /// Other numbers, of that width.
    Wide1,
    Wide2,
    Wide4,
    Wide8,
}

impl Kind {
    /// That of a number of so many bytes.
    pub(super) fn of(width: u8, is_byte: bool) -> Option<Self> {
        Some(match (width, is_byte) {
            (1, true) => Self::Byte,
            (1, false) => Self::Wide1,
            (2, _) => Self::Wide2,
            (4, _) => Self::Wide4,
            (8, _) => Self::Wide8,
            _ => return None,
        })
    }
}

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

/// The readable end of a stream of the runtime's.
#[derive(Debug)]
pub(super) enum Readable {
    Byte(StreamReader<u8>),
    Wide1(StreamReader<Element<1>>),
    Wide2(StreamReader<Element<2>>),
    Wide4(StreamReader<Element<4>>),
    Wide8(StreamReader<Element<8>>),
}

impl Readable {
    /// Takes a stream over that a guest gives away, by its index.
    pub(super) fn lift(
        cx: &mut LiftContext<'_>,
        ty: TypeStreamTableIndex,
        kind: Kind,
        index: u32,
    ) -> Result<Self> {
        let (ty, index) = (InterfaceType::Stream(ty), ValRaw::u32(index));
        Ok(match kind {
            Kind::Byte => Self::Byte(StreamReader::linear_lift_from_flat(cx, ty, &index)?),
            Kind::Wide1 => Self::Wide1(StreamReader::linear_lift_from_flat(cx, ty, &index)?),
            Kind::Wide2 => Self::Wide2(StreamReader::linear_lift_from_flat(cx, ty, &index)?),
            Kind::Wide4 => Self::Wide4(StreamReader::linear_lift_from_flat(cx, ty, &index)?),
            Kind::Wide8 => Self::Wide8(StreamReader::linear_lift_from_flat(cx, ty, &index)?),
        })
    }

    /// Gives a stream to a guest; its index there.
    pub(super) fn lower<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: TypeStreamTableIndex,
    ) -> Result<u32> {
        let ty = InterfaceType::Stream(ty);
        let mut index = std::mem::MaybeUninit::uninit();
        match self {
            Self::Byte(reader) => reader.linear_lower_to_flat(cx, ty, &mut index),
            Self::Wide1(reader) => reader.linear_lower_to_flat(cx, ty, &mut index),
            Self::Wide2(reader) => reader.linear_lower_to_flat(cx, ty, &mut index),
            Self::Wide4(reader) => reader.linear_lower_to_flat(cx, ty, &mut index),
            Self::Wide8(reader) => reader.linear_lower_to_flat(cx, ty, &mut index),
        }?;
        // SAFETY: lowering to flat values initialises them, or fails.
        Ok(unsafe { index.assume_init() }.get_u32())
    }

    /// Pipes a guest's stream into a channel.
    pub(super) fn pipe<T: StoreData>(
        self,
        mut store: StoreContextMut<'_, T>,
        channel: Arc<Channel>,
    ) -> Result<()> {
        let ending = store.data_mut().boundary().ending.clone();
        let out = Out { channel, ending };
        match self {
            Self::Byte(reader) => reader.pipe(store, BytesOut(out)),
            Self::Wide1(reader) => reader.pipe(store, ElementsOut::<1>(out)),
            Self::Wide2(reader) => reader.pipe(store, ElementsOut::<2>(out)),
            Self::Wide4(reader) => reader.pipe(store, ElementsOut::<4>(out)),
            Self::Wide8(reader) => reader.pipe(store, ElementsOut::<8>(out)),
        }
    }

    /// A stream for a guest of what comes through a channel.
    pub(super) fn open<T: StoreData>(
        store: StoreContextMut<'_, T>,
        kind: Kind,
        channel: Arc<Channel>,
    ) -> Result<Self> {
        let into = In { channel, rest: Buffer::new(), at: 0 };
        Ok(match kind {
            Kind::Byte => Self::Byte(StreamReader::new(store, BytesIn(into))?),
            Kind::Wide1 => Self::Wide1(StreamReader::new(store, ElementsIn::<1>(into))?),
            Kind::Wide2 => Self::Wide2(StreamReader::new(store, ElementsIn::<2>(into))?),
            Kind::Wide4 => Self::Wide4(StreamReader::new(store, ElementsIn::<4>(into))?),
            Kind::Wide8 => Self::Wide8(StreamReader::new(store, ElementsIn::<8>(into))?),
        })
    }
}

/// Whether a store is about to go before its guest has ended well. Whoever ends a guest says so first: what it had
/// still to write is then known to be cut, and is not taken for all.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<AtomicBool>);

impl Ending {
    /// Says that what the guest still writes is cut.
    pub fn cut(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Ends a channel that the guest has written into: all of it, or cut.
    pub(super) fn finish(&self, channel: &Channel) {
        if self.0.load(Ordering::Acquire) { channel.cut() } else { channel.end() }
    }
}

/// Where a guest's stream goes. Dropped when the guest closes its end, or ends itself.
struct Out {
    channel: Arc<Channel>,
    ending: Ending,
}

impl Out {
    /// How many bytes of those that the guest offers are taken now; else what to answer.
    fn room(
        &self,
        cx: &mut Context<'_>,
        has_any: bool,
        finish: bool,
    ) -> Result<usize, Poll<Result<StreamResult>>> {
        match self.channel.poll_room(cx) {
            Poll::Ready(Err(_)) => Err(Poll::Ready(Ok(StreamResult::Dropped))),
            Poll::Ready(Ok(_)) if !has_any => Err(Poll::Ready(Ok(StreamResult::Completed))),
            Poll::Ready(Ok(room)) => Ok(room.min(CHUNK)),
            Poll::Pending if finish => Err(Poll::Ready(Ok(StreamResult::Cancelled))),
            Poll::Pending => Err(Poll::Pending),
        }
    }

    fn write(&self, chunk: Vec<u8>) -> Poll<Result<StreamResult>> {
        Poll::Ready(Ok(match self.channel.write(chunk.into()) {
            Ok(()) => StreamResult::Completed,
            Err(_) => StreamResult::Dropped,
        }))
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.ending.finish(&self.channel);
    }
}

struct BytesOut(Out);

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

struct ElementsOut<const W: usize>(Out);

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

/// Where a stream for a guest comes from. Dropped when the guest wants no more.
struct In {
    channel: Arc<Channel>,
    /// Of the chunk that was taken last, what lies behind `at` is still to be given.
    rest: Buffer,
    at: usize,
}

impl In {
    /// What is to be given next; else what to answer.
    fn next(
        &mut self,
        cx: &mut Context<'_>,
        finish: bool,
    ) -> Result<&[u8], Poll<Result<StreamResult>>> {
        if self.at >= self.rest.len() {
            match self.channel.poll_read(cx) {
                Poll::Ready(Ok(Some(chunk))) => (self.rest, self.at) = (chunk, 0),
                Poll::Ready(Ok(None)) => return Err(Poll::Ready(Ok(StreamResult::Dropped))),
                // The guest cannot be told otherwise that what it has is not all.
                Poll::Ready(Err(cut)) => return Err(Poll::Ready(Err(wasmtime::Error::new(cut)))),
                Poll::Pending if finish => return Err(Poll::Ready(Ok(StreamResult::Cancelled))),
                Poll::Pending => return Err(Poll::Pending),
            }
        }
        Ok(self.rest.get(self.at..).unwrap_or_default())
    }
}

impl Drop for In {
    fn drop(&mut self) {
        self.channel.leave();
    }
}

/// What to answer a guest that asks for nothing: it wants to know whether it would have to wait.
fn probe(channel: &Channel) -> Option<Poll<Result<StreamResult>>> {
    channel.is_readable().then_some(Poll::Ready(Ok(StreamResult::Completed)))
}

struct BytesIn(In);

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
        if destination.remaining(&mut store) == Some(0)
            && (into.at < into.rest.len() || probe(&into.channel).is_some())
        {
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
        into.at += count;
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

struct ElementsIn<const W: usize>(In);

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
        if wanted == Some(0) && (into.at < into.rest.len() || probe(&into.channel).is_some()) {
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
        into.at += count * W;
        destination.set_buffer(VecBuffer::from(given));
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

/// The ends of channels that a provider has, by their handles.
#[derive(Debug, Default)]
pub struct Streams(Mutex<HashMap<u64, End>>);

/// An end of a channel that a provider has. Dropped with its binding at the latest.
#[derive(Debug)]
struct End {
    /// Whether the provider reads; else it writes.
    reads: bool,
    /// None once it was given away.
    channel: Option<Arc<Channel>>,
}

impl Drop for End {
    fn drop(&mut self) {
        match self.channel.take() {
            Some(channel) if self.reads => channel.leave(),
            Some(channel) => channel.cut(),
            None => {}
        }
    }
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, End>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, reads: bool, channel: Arc<Channel>) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let handle = NEXT.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(handle, End { reads, channel: Some(channel) });
        handle
    }

    fn find(&self, handle: u64, reads: bool) -> Option<Arc<Channel>> {
        let ends = self.lock();
        ends.get(&handle).filter(|end| end.reads == reads)?.channel.clone()
    }

    /// A channel of the provider's own: the handle of the end that it writes, and of the one that it gives away.
    pub fn make(&self) -> (u64, u64) {
        let channel = Arc::new(Channel::default());
        (self.add(false, Arc::clone(&channel)), self.add(true, channel))
    }

    /// Gives the provider an end to read from; its handle.
    pub(super) fn give(&self, channel: Arc<Channel>) -> u64 {
        self.add(true, channel)
    }

    /// Gives the provider an end to write to; its handle.
    pub(super) fn give_writer(&self, channel: Arc<Channel>) -> u64 {
        self.add(false, channel)
    }

    /// Takes an end away that the provider could read from.
    pub(super) fn take(&self, handle: u64) -> Option<Arc<Channel>> {
        self.take_end(handle, true)
    }

    /// Takes an end away that the provider could write to.
    pub(super) fn take_writer(&self, handle: u64) -> Option<Arc<Channel>> {
        self.take_end(handle, false)
    }

    fn take_end(&self, handle: u64, reads: bool) -> Option<Arc<Channel>> {
        let mut ends = self.lock();
        ends.get(&handle).filter(|end| end.reads == reads)?;
        ends.remove(&handle)?.channel.take()
    }

    /// The channel that the provider reads from by that handle.
    pub fn read(&self, handle: u64) -> Option<Arc<Channel>> {
        self.find(handle, true)
    }

    /// The channel that the provider writes to by that handle.
    pub fn write(&self, handle: u64) -> Option<Arc<Channel>> {
        self.find(handle, false)
    }

    /// Drops an end: a reader wants no more, or a writer is cut. Whether there was one.
    pub fn forget(&self, handle: u64) -> bool {
        // Outside of the lock: it wakes others.
        let end = self.lock().remove(&handle);
        end.is_some()
    }

    /// Ends what the provider writes, which is all of it. Whether there was one.
    pub fn end(&self, handle: u64) -> bool {
        match self.write(handle) {
            Some(channel) => {
                channel.end();
                self.forget(handle)
            }
            None => false,
        }
    }

    /// How many ends the provider has.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
