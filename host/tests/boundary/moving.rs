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
    link::{LinkedImport, define},
    streams::Streams,
};
use backplane_abi::{CallContext, Exchange};
use backplane_wire::{Form, Reader, Writer};
use wasmtime::{
    Store,
    component::{Component, Linker, Val},
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
    let text = moving(&ty, is_future, encoding);
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

    let count = if is_future { 1 } else { [0, 1, 2, 30, 100][rng.below(5)] };
    let values: Vec<Val> = (0..count).map(|_| ty.value(rng)).collect();
    let (writes, reads) = ends.streams.make();
    *ends.given.lock().unwrap() = Some(reads);
    let channel = ends.streams.write(writes).unwrap();
    let mut left: VecDeque<_> = values.iter().cloned().collect();
    while !left.is_empty() {
        let some: Vec<_> = left.drain(..(1 + rng.below(40)).min(left.len())).collect();
        // A future's value is a list of one, whatever it is.
        let bytes = match is_future {
            true => [vec![1], elements(&ty, &some)].concat(),
            false => chunk(&ty, &some),
        };
        channel.write(bytes.into()).unwrap();
    }
    ends.streams.end(writes);
    let mut store = Store::new(&engine, Data::new());
    let instance = block_on(linker.instantiate_async(&mut store, &component)).unwrap();
    let at_once = [1_u32, 2, 7, 64, 1000][rng.below(5)];
    let returned = call(&export, &mut store, &instance, at_once.to_le_bytes().to_vec(), true);
    let returned = returned.unwrap_or_else(|error| panic!("{error:#?}\n{ty:#?}\n{values:?}"));
    assert!(returned.is_empty());

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
