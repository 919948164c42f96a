//! Streams: what moves through one in a second, of a native extension and of functions compiled in with the runtime's
//! typed API, which are what a plugin's authors would write: each owns the bytes that it was given.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use wasmtime::{
    Engine, Result, StoreContextMut,
    component::{
        Access, Accessor, Destination, HasSelf, Linker, Resource, Source, StreamConsumer,
        StreamProducer, StreamReader, StreamResult, VecBuffer,
    },
};
use wasmtime_wasi::p2::{DynInputStream, InputStream, Pollable, StreamError};

use super::guest::{Data, core_linker};
use files::bench::files::files as wit_files;
use streams::bench::streams::moving::{self, Small};

mod streams {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from WIT")]

    wasmtime::component::bindgen!({
        inline: "
            package bench:compiled-in;
            world guest {
                import bench:streams/moving@1.0.0;
            }
        ",
        path: "../../wit/bench-streams",
        imports: { default: trappable },
        require_store_data_send: true,
    });
}

mod files {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from WIT")]

    wasmtime::component::bindgen!({
        inline: "
            package bench:compiled-in;
            world guest {
                import bench:files/files@1.0.0;
            }
        ",
        path: ["../../wit/wasi-io-0.2.0", "../../wit/bench-files"],
        imports: { default: trappable },
        require_store_data_send: true,
        with: { "wasi:io": wasmtime_wasi::p2::bindings::io },
    });
}

/// A linker with streams of WASI 0.3 compiled in.
pub(super) fn linker(engine: &Engine) -> Result<Linker<Data>> {
    let mut linker = core_linker(engine)?;
    moving::add_to_linker::<_, HasSelf<_>>(&mut linker, |data: &mut Data| data)?;
    Ok(linker)
}

/// A linker with streams of WASI 0.2 compiled in.
pub(super) fn files_linker(engine: &Engine) -> Result<Linker<Data>> {
    let mut linker = core_linker(engine)?;
    wit_files::add_to_linker::<_, HasSelf<_>>(&mut linker, |data: &mut Data| data)?;
    Ok(linker)
}

impl moving::Host for Data {}

impl<T> moving::HostWithStore<T> for HasSelf<Data> {
    async fn take_bytes(accessor: &Accessor<T, Self>, bytes: StreamReader<u8>) -> Result<u64> {
        let (done, count) = tokio::sync::oneshot::channel();
        accessor.with(|access| bytes.pipe(access, Take::new(done)))?;
        Ok(count.await?)
    }

    async fn make_bytes(
        accessor: &Accessor<T, Self>,
        count: u64,
        chunk: u32,
    ) -> Result<StreamReader<u8>> {
        let chunk = vec![0x5a; chunk as usize];
        accessor.with(|access: Access<'_, T, Self>| {
            StreamReader::new(access, MakeBytes { left: count, chunk })
        })
    }

    async fn take_records(
        accessor: &Accessor<T, Self>,
        records: StreamReader<Small>,
    ) -> Result<u64> {
        let (done, count) = tokio::sync::oneshot::channel();
        accessor.with(|access| records.pipe(access, TakeRecords(Take::new(done))))?;
        Ok(count.await?)
    }

    async fn make_records(
        accessor: &Accessor<T, Self>,
        count: u64,
        chunk: u32,
    ) -> Result<StreamReader<Small>> {
        let chunk = (0..chunk).map(|at| Small { a: at, b: u64::from(at) << 40, c: at & 1 == 1 });
        let producer = MakeRecords { left: count, chunk: chunk.collect() };
        accessor.with(|access: Access<'_, T, Self>| StreamReader::new(access, producer))
    }
}

/// Counts what comes, and says so when it is dropped: that is the end.
struct Take {
    count: u64,
    done: Option<tokio::sync::oneshot::Sender<u64>>,
}

impl Take {
    fn new(done: tokio::sync::oneshot::Sender<u64>) -> Self {
        Self { count: 0, done: Some(done) }
    }
}

impl Drop for Take {
    fn drop(&mut self) {
        // Nobody waits where the guest has ended.
        let _nobody = self.done.take().map(|done| done.send(self.count));
    }
}

/// Bytes that are taken at once.
const CHUNK: usize = 64 << 10;

impl<D: 'static> StreamConsumer<D> for Take {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        _: bool,
    ) -> Poll<Result<StreamResult>> {
        let mut source = source.as_direct(store);
        let offered = source.remaining();
        let taken = Bytes::copy_from_slice(offered.get(..CHUNK).unwrap_or(offered));
        source.mark_read(taken.len());
        self.count += std::hint::black_box(taken).len() as u64;
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

struct TakeRecords(Take);

impl<D: 'static> StreamConsumer<D> for TakeRecords {
    type Item = Small;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut store: StoreContextMut<'_, D>,
        mut source: Source<'_, Small>,
        _: bool,
    ) -> Poll<Result<StreamResult>> {
        let mut records = Vec::with_capacity(source.remaining(&mut store).min(4096));
        source.read(store, &mut records)?;
        self.0.count += std::hint::black_box(records).len() as u64;
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

struct MakeBytes {
    left: u64,
    chunk: Vec<u8>,
}

impl<D: 'static> StreamProducer<D> for MakeBytes {
    type Item = u8;
    type Buffer = VecBuffer<u8>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'a, D>,
        destination: Destination<'a, u8, VecBuffer<u8>>,
        _: bool,
    ) -> Poll<Result<StreamResult>> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let mut destination = destination.as_direct(store, self.chunk.len());
        let place = destination.remaining();
        let count = place.len().min(self.chunk.len()).min(left);
        if let (Some(place), Some(chunk)) = (place.get_mut(..count), self.chunk.get(..count)) {
            place.copy_from_slice(chunk);
        }
        destination.mark_written(count);
        self.left -= count as u64;
        Poll::Ready(Ok(match self.left {
            0 => StreamResult::Dropped,
            _ => StreamResult::Completed,
        }))
    }
}

struct MakeRecords {
    left: u64,
    chunk: Vec<Small>,
}

impl<D: 'static> StreamProducer<D> for MakeRecords {
    type Item = Small;
    type Buffer = VecBuffer<Small>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: StoreContextMut<'a, D>,
        mut destination: Destination<'a, Small, VecBuffer<Small>>,
        _: bool,
    ) -> Poll<Result<StreamResult>> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let records = self.chunk.get(..left).unwrap_or(&self.chunk).to_vec();
        self.left -= records.len() as u64;
        destination.set_buffer(records.into());
        Poll::Ready(Ok(match self.left {
            0 => StreamResult::Dropped,
            _ => StreamResult::Completed,
        }))
    }
}

impl wit_files::Host for Data {
    fn open(&mut self, count: u64, chunk: u32) -> Result<Resource<DynInputStream>> {
        let chunk = Bytes::from(vec![0x5a; chunk as usize]);
        let stream: DynInputStream = Box::new(Opened { left: count, chunk });
        Ok(self.table.push(stream)?)
    }
}

/// A stream that always has some.
struct Opened {
    left: u64,
    chunk: Bytes,
}

impl InputStream for Opened {
    fn read(&mut self, size: usize) -> Result<Bytes, StreamError> {
        if self.left == 0 {
            return Err(StreamError::Closed);
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        // Bytes of its own, as those of a file are.
        let read = self.chunk.get(..size.min(left)).unwrap_or(&self.chunk);
        let read = Bytes::copy_from_slice(read);
        self.left -= read.len() as u64;
        Ok(read)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Opened {
    async fn ready(&mut self) {}
}
