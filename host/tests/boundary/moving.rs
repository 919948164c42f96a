//! Streams and futures: a guest moves all that it is given from one to another, in reads and writes of every size.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use backplane::boundary::{
    Binding,
    call::{Answer, Callee},
    channel::Cut,
    imports::imports,
    invoke::Export,
    link::{LinkedImport, define},
    streams::Streams,
};
use backplane_abi::{CallContext, Exchange};
use backplane_wire::{Form, Reader, Writer};
use wasmtime::{
    Store,
    component::{Component, Instance, Linker, Val},
};

use crate::{
    component::moving,
    generate::{Encoding, Rng, Ty},
    harness::{Data, block_on, call, engine, export},
    values::{elements, is_number},
};

/// Answers `get` with an end of a stream and takes what comes through the one that `put` is given.
#[derive(Default)]
struct Ends {
    streams: Arc<Streams>,
    given: Mutex<Option<u64>>,
    taken: Mutex<Option<u64>>,
}

struct Shared(Arc<Ends>);

impl Callee for Shared {
    fn provider(&self) -> &str {
        "ends"
    }

    fn streams(&self) -> Option<&Arc<Streams>> {
        Some(&self.0.streams)
    }

    fn call(&self, function: u32, _: &CallContext, exchange: &mut Exchange) -> Answer {
        if function == 0 {
            let mut answer = Writer::new(Form::Local);
            answer.handle(self.0.given.lock().unwrap().take().unwrap());
            exchange.results = answer.into_vec().into();
        } else {
            let handle = Reader::new(&exchange.arguments, Form::Local).handle().unwrap();
            *self.0.taken.lock().unwrap() = Some(handle);
        }
        Answer::Ready
    }

    fn drop_resource(&self, _: u32, _: u64) {}
}

/// A chunk as it lies in a channel.
fn chunk(ty: &Ty, values: &[Val]) -> Vec<u8> {
    let values_alone = elements(ty, values);
    if is_number(ty) {
        return values_alone;
    }
    let mut out = Writer::new(Form::Local);
    out.length(values.len());
    out.raw(&values_alone);
    out.into_vec()
}

/// The elements of a chunk, and how many they are, where they are no numbers.
fn elements_of(ty: &Ty, chunk: &[u8]) -> (Vec<u8>, usize) {
    let mut reader = Reader::new(chunk, Form::Local);
    let count = if is_number(ty) { 0 } else { reader.length().unwrap() };
    (reader.raw(reader.remaining()).unwrap().to_vec(), count)
}

/// A guest that moves elements, and the channels on both sides of it.
struct Mover {
    ty: Ty,
    is_future: bool,
    ends: Arc<Ends>,
    store: Store<Data>,
    instance: Instance,
    export: Export<Data>,
}

impl Mover {
    fn new(ty: Ty, is_future: bool, encoding: Encoding, places: [i32; 2]) -> Self {
        let text = moving(&ty, is_future, encoding, places);
        let engine = engine(true);
        let bytes = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let component =
            Component::new(&engine, bytes).unwrap_or_else(|error| panic!("{error:#}\n{text}"));
        let ends = Arc::new(Ends::default());
        let binding = Binding::new(Arc::new(Shared(Arc::clone(&ends))));
        let found = imports(&engine, &component, |_| false).unwrap();
        let number = |name: &str| u32::from(name == "put");
        let functions = found[0].functions.iter();
        let functions: Vec<_> =
            functions.map(|(name, ty)| (name.clone(), ty.clone(), number(name))).collect();
        let mut linker = Linker::<Data>::new(&engine);
        let import = LinkedImport {
            name: &found[0].name,
            functions: &functions,
            defines: &[],
            resources: &[],
            binding: &binding,
        };
        define(&mut linker, &import).unwrap();
        let export = export(&engine, &component, &binding);
        let mut store = Store::new(&engine, Data::new());
        let instance = block_on(linker.instantiate_async(&mut store, &component)).unwrap();
        Self { ty, is_future, ends, store, instance, export }
    }

    /// Runs it, with what lies in the channel that it is given: chunks, and then the end.
    fn run(&mut self, chunks: Vec<Vec<u8>>, at_once: u32) -> wasmtime::Result<()> {
        let (writes, reads) = self.ends.streams.make();
        *self.ends.given.lock().unwrap() = Some(reads);
        let channel = self.ends.streams.write(writes).unwrap();
        chunks.into_iter().for_each(|chunk| channel.write(chunk.into()).unwrap());
        self.ends.streams.end(writes);
        let arguments = at_once.to_le_bytes().to_vec();
        let Self { export, store, instance, .. } = self;
        let returned = call(export, store, instance, arguments, true)?;
        assert!(returned.is_empty());
        Ok(())
    }

    /// Random chunks of values.
    fn chunks(&self, rng: &mut Rng, values: &[Val]) -> Vec<Vec<u8>> {
        let mut left: VecDeque<_> = values.iter().cloned().collect();
        let mut chunks = Vec::new();
        while !left.is_empty() {
            let some: Vec<_> = left.drain(..(1 + rng.below(40)).min(left.len())).collect();
            // A future's value is a list of one, whatever it is.
            chunks.push(match self.is_future {
                true => [vec![1], elements(&self.ty, &some)].concat(),
                false => chunk(&self.ty, &some),
            });
        }
        chunks
    }
}

/// Random values of a random type through a guest; how many were compared.
pub fn compare(rng: &mut Rng) -> u64 {
    // Short: blocks that are aligned lie elsewhere in another chunk.
    let ty = match Ty::random(rng, 2) {
        // The component model has no stream of them.
        Ty::Char => Ty::String,
        ty => ty,
    };
    let is_future = rng.below(3) == 0;
    let encoding = [Encoding::Utf8, Encoding::Utf16, Encoding::CompactUtf16][rng.below(3)];
    let mut mover = Mover::new(ty, is_future, encoding, [0, 0]);
    let count = if is_future { 1 } else { [0, 1, 2, 30, 100][rng.below(5)] };
    let values: Vec<Val> = (0..count).map(|_| mover.ty.value(rng)).collect();
    let at_once = [1_u32, 2, 7, 64, 1000][rng.below(5)];
    let chunks = mover.chunks(rng, &values);
    let moved = mover.run(chunks, at_once);
    let Mover { ty, ends, .. } = mover;
    moved.unwrap_or_else(|error| panic!("{error:#?}\n{ty:#?}\n{values:?}"));

    let taken = ends.taken.lock().unwrap().take().unwrap();
    let taken = ends.streams.read(taken).unwrap();
    let (mut moved, mut moved_count) = (Vec::new(), 0);
    loop {
        match taken.try_read() {
            std::task::Poll::Ready(Ok(Some(bytes))) if is_future => {
                assert_eq!(bytes[0], 1);
                moved.extend_from_slice(&bytes[1..]);
                moved_count += 1;
            }
            std::task::Poll::Ready(Ok(Some(bytes))) => {
                let (elements, count) = elements_of(&ty, &bytes);
                moved.extend(elements);
                moved_count += count;
            }
            std::task::Poll::Ready(Ok(None)) => break,
            std::task::Poll::Ready(Err(Cut)) => panic!("it was cut\n{ty:#?}"),
            std::task::Poll::Pending => panic!("it has no end\n{ty:#?}"),
        }
    }
    assert_eq!(moved, elements(&ty, &values), "{ty:#?} {encoding:?} {at_once}");
    if is_future || !is_number(&ty) {
        assert_eq!(moved_count, values.len(), "{ty:#?}");
    }
    count as u64
}

#[test]
fn a_guest_whose_elements_lie_where_they_cannot_traps() {
    let far = i32::MAX;
    let record = || Ty::Record(vec![Ty::U64, Ty::String]);
    const OUTSIDE: [&str; 2] = ["lies outside of the memory", "pointer out of bounds of memory"];
    const UNALIGNED: [&str; 2] = ["is not aligned", "pointer not aligned"];
    // The places that elements are read to and written from, and what is said of it by the host, or by the runtime.
    let cases = [
        (Ty::U32, [far, 0], OUTSIDE),
        (Ty::U32, [0, far - 3], OUTSIDE),
        (Ty::U32, [1, 0], UNALIGNED),
        (Ty::U32, [0, 1], UNALIGNED),
        (record(), [far - 7, 0], OUTSIDE),
        (record(), [0, far - 7], OUTSIDE),
        (record(), [-100_000, 0], OUTSIDE),
        (record(), [0, 4 * 65536], OUTSIDE),
        (record(), [1, 0], UNALIGNED),
        (record(), [0, 4], UNALIGNED),
        (Ty::String, [2, 0], UNALIGNED),
        (Ty::String, [0, 2], UNALIGNED),
    ];
    for (ty, places, says) in cases {
        let mut rng = Rng::new(9);
        for is_future in [false, true] {
            let what = format!("{ty:?} {places:?} {is_future}");
            let mut mover = Mover::new(ty.clone(), is_future, Encoding::Utf8, places);
            let count = if is_future { 1 } else { 20 };
            let values: Vec<Val> = (0..count).map(|_| mover.ty.value(&mut rng)).collect();
            let chunks = mover.chunks(&mut rng, &values);
            let text = format!("{:?}", mover.run(chunks, 4).expect_err(&what));
            assert!(says.iter().any(|says| text.contains(says)), "{what}: {text}");
        }
    }
}

/// A provider writes what is no list of the type.
#[test]
fn malformed_chunks_are_an_error_that_names_them() {
    let record = || Ty::Record(vec![Ty::U32, Ty::String]);
    let chunks: [&[u8]; 6] = [
        // No element, too many, a string that is none, one that is too long, half an element, one byte more.
        &[0],
        &[200, 1, 0, 0, 0, 0],
        &[1, 1, 0, 0, 0, 1, 0xff],
        &[1, 1, 0, 0, 0, 9, b'a'],
        &[2, 1, 0, 0, 0, 0, 7, 0],
        &[1, 1, 0, 0, 0, 0, 0],
    ];
    for bytes in chunks {
        for is_future in [false, true] {
            let mut mover = Mover::new(record(), is_future, Encoding::Utf8, [0, 0]);
            let error = mover.run(vec![bytes.to_vec()], 100).expect_err("it is malformed");
            let text = format!("{error:#}");
            let says = ["malformed values into a stream or a future", "values into a future"];
            assert!(says.iter().any(|says| text.contains(says)), "{bytes:?}: {text}");
        }
    }
}
