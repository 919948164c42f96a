//! The readable ends of the runtime's streams and futures: a guest's are piped into the channels that providers read,
//! and what providers write becomes a stream of the guest's.

use std::sync::Arc;

use wasmtime::{
    Result, StoreContextMut, ValRaw,
    component::{
        __internal::{InterfaceType, LiftContext, LowerContext},
        FutureReader, Lift, Lower, StreamReader,
    },
};

use super::{
    StoreData,
    channel::Channel,
    kind::Kind,
    numbers::{BytesIn, BytesOut, Element, ElementsIn, ElementsOut},
    pipe::{In, Out, Reads},
    value::Value,
    values::{SignalIn, SignalOut, ValueIn, ValueOut, ValuesIn, ValuesOut},
};

/// The readable end of a stream or a future of the runtime's.
#[derive(Debug)]
pub(super) enum Readable {
    Byte(StreamReader<u8>),
    Wide1(StreamReader<Element<1>>),
    Wide2(StreamReader<Element<2>>),
    Wide4(StreamReader<Element<4>>),
    Wide8(StreamReader<Element<8>>),
    Values(StreamReader<Value>, u32),
    Future(FutureReader<Value>),
    Signal(FutureReader<()>),
}

impl Readable {
    /// Takes a stream over that a guest gives away, by its index.
    pub(super) fn lift(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        kind: Kind,
        index: u32,
    ) -> Result<Self> {
        let index = ValRaw::u32(index);
        Ok(match kind {
            Kind::Byte => Self::Byte(StreamReader::linear_lift_from_flat(cx, ty, &index)?),
            Kind::Wide1 => Self::Wide1(StreamReader::linear_lift_from_flat(cx, ty, &index)?),
            Kind::Wide2 => Self::Wide2(StreamReader::linear_lift_from_flat(cx, ty, &index)?),
            Kind::Wide4 => Self::Wide4(StreamReader::linear_lift_from_flat(cx, ty, &index)?),
            Kind::Wide8 => Self::Wide8(StreamReader::linear_lift_from_flat(cx, ty, &index)?),
            Kind::Values(size) => {
                Self::Values(StreamReader::linear_lift_from_flat(cx, ty, &index)?, size)
            }
            Kind::Future => Self::Future(FutureReader::linear_lift_from_flat(cx, ty, &index)?),
            Kind::Signal => Self::Signal(FutureReader::linear_lift_from_flat(cx, ty, &index)?),
        })
    }

    /// Gives a stream to a guest; its index there.
    pub(super) fn lower<T>(&self, cx: &mut LowerContext<'_, T>, ty: InterfaceType) -> Result<u32> {
        let mut index = std::mem::MaybeUninit::uninit();
        match self {
            Self::Byte(reader) => reader.linear_lower_to_flat(cx, ty, &mut index),
            Self::Wide1(reader) => reader.linear_lower_to_flat(cx, ty, &mut index),
            Self::Wide2(reader) => reader.linear_lower_to_flat(cx, ty, &mut index),
            Self::Wide4(reader) => reader.linear_lower_to_flat(cx, ty, &mut index),
            Self::Wide8(reader) => reader.linear_lower_to_flat(cx, ty, &mut index),
            Self::Values(reader, _) => reader.linear_lower_to_flat(cx, ty, &mut index),
            Self::Future(reader) => reader.linear_lower_to_flat(cx, ty, &mut index),
            Self::Signal(reader) => reader.linear_lower_to_flat(cx, ty, &mut index),
        }?;
        // SAFETY: lowering to flat values initialises them, or fails.
        Ok(unsafe { index.assume_init() }.get_u32())
    }

    /// The channel that a guest's stream or future comes through from here on.
    pub(super) fn pipe<T: StoreData>(
        self,
        mut store: StoreContextMut<'_, T>,
    ) -> Result<Arc<Channel>> {
        let channel = Arc::new(Channel::default());
        let ending = store.data_mut().boundary().ending.clone();
        let out = || Out { channel: Arc::clone(&channel), ending };
        let value = || ValueOut::new(Arc::clone(&channel));
        match self {
            Self::Byte(reader) => reader.pipe(store, BytesOut(out())),
            Self::Wide1(reader) => reader.pipe(store, ElementsOut::<1>(out())),
            Self::Wide2(reader) => reader.pipe(store, ElementsOut::<2>(out())),
            Self::Wide4(reader) => reader.pipe(store, ElementsOut::<4>(out())),
            Self::Wide8(reader) => reader.pipe(store, ElementsOut::<8>(out())),
            Self::Values(reader, size) => match reader.try_into(&mut store) {
                // A provider has made it.
                Ok(reads) => return Ok(Reads::into_channel(reads)),
                Err(reader) => reader.pipe(store, ValuesOut::new(out(), size)),
            },
            Self::Future(reader) => reader.pipe(store, value()),
            Self::Signal(reader) => reader.pipe(store, SignalOut(value())),
        }?;
        Ok(channel)
    }

    /// A stream or a future for a guest of what comes through a channel.
    pub(super) fn open<T: StoreData>(
        store: StoreContextMut<'_, T>,
        kind: Kind,
        channel: Arc<Channel>,
    ) -> Result<Self> {
        let channel = Reads::new(channel);
        Ok(match kind {
            Kind::Byte => Self::Byte(StreamReader::new(store, BytesIn(In::new(channel)))?),
            Kind::Wide1 => {
                Self::Wide1(StreamReader::new(store, ElementsIn::<1>(In::new(channel)))?)
            }
            Kind::Wide2 => {
                Self::Wide2(StreamReader::new(store, ElementsIn::<2>(In::new(channel)))?)
            }
            Kind::Wide4 => {
                Self::Wide4(StreamReader::new(store, ElementsIn::<4>(In::new(channel)))?)
            }
            Kind::Wide8 => {
                Self::Wide8(StreamReader::new(store, ElementsIn::<8>(In::new(channel)))?)
            }
            Kind::Values(size) => {
                Self::Values(StreamReader::new(store, ValuesIn::new(channel))?, size)
            }
            Kind::Future => Self::Future(FutureReader::new(store, ValueIn::new(channel))?),
            Kind::Signal => {
                Self::Signal(FutureReader::new(store, SignalIn(ValueIn::new(channel)))?)
            }
        })
    }
}
