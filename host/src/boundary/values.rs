//! Streams of values that are not numbers, and futures, by chunks: what a guest writes goes into a channel, and what
//! a provider has written there is given to a guest.

use std::{
    any::{Any, TypeId},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use backplane_abi::Buffer;
use wasmtime::{
    Result, StoreContextMut, bail,
    component::{
        Destination, FutureConsumer, FutureProducer, Source, StreamConsumer, StreamProducer,
        StreamResult, VecBuffer,
    },
};

use super::{
    channel::{Channel, Cut},
    pipe::{Out, Reads},
    value::{Chunk, ElementPlan, Value, read},
};

/// Where a guest's stream of values goes.
pub(super) struct ValuesOut {
    out: Out,
    plan: Arc<ElementPlan>,
    /// Bytes of a value in memory.
    size: usize,
}

impl ValuesOut {
    pub(super) fn new(out: Out, size: u32) -> Self {
        Self { out, plan: Arc::default(), size: (size as usize).max(1) }
    }
}

impl<D: 'static> StreamConsumer<D> for ValuesOut {
    type Item = Value;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, D>,
        mut source: Source<'_, Value>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let offered = source.remaining(&mut store);
        let room = match self.out.room(cx, offered > 0, finish) {
            Ok(room) => room,
            Err(answer) => return answer,
        };
        let count = offered.min((room / self.size).max(1));
        self.out.write(read(store, &mut source, &self.plan, count)?)
    }
}

/// Where a stream of values for a guest comes from.
pub(super) struct ValuesIn {
    channel: Option<Reads>,
    plan: Arc<ElementPlan>,
    /// The chunk that was taken last.
    chunk: Option<Arc<Chunk>>,
}

impl ValuesIn {
    pub(super) fn new(channel: Reads) -> Self {
        Self { channel: Some(channel), plan: Arc::default(), chunk: None }
    }

    /// The chunk that the next values are of; else what to answer.
    fn next(
        &mut self,
        cx: &mut Context<'_>,
        finish: bool,
    ) -> Result<Arc<Chunk>, Poll<Result<StreamResult>>> {
        if let Some(chunk) = self.chunk.as_ref().filter(|chunk| chunk.left() > 0) {
            return Ok(Arc::clone(chunk));
        }
        let Some(channel) = &self.channel else {
            return Err(Poll::Ready(Ok(StreamResult::Dropped)));
        };
        let message = channel.next(cx, finish)?;
        match Chunk::new(message, &self.plan) {
            Ok(chunk) => Ok(Arc::clone(self.chunk.insert(Arc::new(chunk)))),
            Err(error) => Err(Poll::Ready(Err(error))),
        }
    }

    fn is_ready(&self) -> bool {
        let has_left = self.chunk.as_ref().is_some_and(|chunk| chunk.left() > 0);
        has_left || self.channel.as_ref().is_some_and(Reads::is_readable)
    }
}

impl<D: 'static> StreamProducer<D> for ValuesIn {
    type Item = Value;
    type Buffer = VecBuffer<Value>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, Value, VecBuffer<Value>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let wanted = destination.remaining(&mut store).unwrap_or(usize::MAX);
        if wanted == 0 && self.is_ready() {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        match self.next(cx, finish) {
            Ok(chunk) => {
                let values = chunk.values(wanted.min(chunk.left()));
                destination.set_buffer(VecBuffer::from(values));
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Err(answer) => answer,
        }
    }

    /// The channel itself, for a stream that a guest gives away and of which it has not read a part of a chunk.
    fn try_into(mut me: Pin<Box<Self>>, ty: TypeId) -> Result<Box<dyn Any>, Pin<Box<Self>>> {
        if ty != TypeId::of::<Reads>() || me.chunk.as_ref().is_some_and(|chunk| chunk.left() > 0) {
            return Err(me);
        }
        match me.channel.take() {
            Some(channel) => Ok(Box::new(channel)),
            None => Err(me),
        }
    }
}

/// Where a guest's future goes. Dropped without its value, it is cut.
pub(super) struct ValueOut {
    channel: Arc<Channel>,
    plan: Arc<ElementPlan>,
}

impl ValueOut {
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        Self { channel, plan: Arc::default() }
    }
}

impl Drop for ValueOut {
    fn drop(&mut self) {
        self.channel.cut();
    }
}

impl<D: 'static> FutureConsumer<D> for ValueOut {
    type Item = Value;

    fn poll_consume(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        mut source: Source<'_, Value>,
        _: bool,
    ) -> Poll<Result<()>> {
        let value = read(store, &mut source, &self.plan, 1)?;
        finish(&self.channel, value);
        Poll::Ready(Ok(()))
    }
}

/// Writes the one value of a future. Where nobody reads it, it is gone.
fn finish(channel: &Channel, value: Vec<u8>) {
    if channel.write(value.into()).is_ok() {
        channel.end();
    }
}

/// Where a future for a guest comes from.
pub(super) struct ValueIn {
    channel: Reads,
    plan: Arc<ElementPlan>,
}

/// The writer of a future ended without having written it.
#[derive(Debug, thiserror::Error)]
#[error("the future was cut: its writer ended without its value")]
struct Unwritten;

impl ValueIn {
    pub(super) fn new(channel: Reads) -> Self {
        Self { channel, plan: Arc::default() }
    }

    /// The message that has the value; none where the wait is to end.
    fn poll(&self, cx: &mut Context<'_>, finish: bool) -> Poll<Result<Option<Buffer>>> {
        match self.channel.channel().poll_read(cx) {
            Poll::Ready(Ok(Some(message))) => Poll::Ready(Ok(Some(message))),
            Poll::Ready(Ok(None) | Err(Cut)) => Poll::Ready(Err(wasmtime::Error::new(Unwritten))),
            Poll::Pending if finish => Poll::Ready(Ok(None)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<D: 'static> FutureProducer<D> for ValueIn {
    type Item = Value;

    fn poll_produce(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: StoreContextMut<'_, D>,
        finish: bool,
    ) -> Poll<Result<Option<Value>>> {
        let value = |message| Chunk::new(message, &self.plan)?.only();
        self.poll(cx, finish).map(|message| message?.map(value).transpose())
    }
}

/// A guest's future of nothing: that it is there is all that it says.
pub(super) struct SignalOut(pub(super) ValueOut);

/// The same for a guest.
pub(super) struct SignalIn(pub(super) ValueIn);

/// The message of one value that is nothing.
const SIGNAL: [u8; 1] = [1];

impl<D: 'static> FutureConsumer<D> for SignalOut {
    type Item = ();

    fn poll_consume(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        mut source: Source<'_, ()>,
        _: bool,
    ) -> Poll<Result<()>> {
        let mut value = None;
        source.read(store, &mut value)?;
        finish(&self.0.channel, SIGNAL.to_vec());
        Poll::Ready(Ok(()))
    }
}

impl<D: 'static> FutureProducer<D> for SignalIn {
    type Item = ();

    fn poll_produce(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: StoreContextMut<'_, D>,
        finish: bool,
    ) -> Poll<Result<Option<()>>> {
        let nothing = |message: Buffer| match *message == SIGNAL {
            true => Ok(()),
            false => bail!("a provider wrote a value into a future of nothing"),
        };
        self.0.poll(cx, finish).map(|message| message?.map(nothing).transpose())
    }
}
