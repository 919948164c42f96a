//! Sequences of what a guest and a provider do with streams, held against a simple model of one.

#![no_main]
#![allow(missing_docs, reason = "the macro's items")]
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a panic is how a finding is told")]

use std::{collections::VecDeque, task::Poll};

use backplane::boundary::{
    channel::{Channel, Cut, Left},
    streams::Streams,
};
use libfuzzer_sys::fuzz_target;

/// A stream as it should be.
#[derive(Default)]
struct Model {
    chunks: VecDeque<Vec<u8>>,
    end: Option<Result<(), Cut>>,
    is_left: bool,
}

fn one_channel(steps: &[u8]) {
    let (channel, mut model) = (Channel::default(), Model::default());
    for (at, step) in steps.iter().enumerate() {
        match step % 6 {
            0 | 1 => {
                let chunk = vec![at as u8; usize::from(step / 6) * 1000];
                let written = channel.write(chunk.clone().into());
                if model.is_left {
                    assert_eq!(written, Err(Left));
                } else {
                    assert_eq!(written, Ok(()));
                    if !chunk.is_empty() {
                        model.chunks.push_back(chunk);
                    }
                }
            }
            2 => {
                let read = channel.try_read();
                match (model.chunks.pop_front(), model.end) {
                    (Some(chunk), _) => {
                        let Poll::Ready(Ok(Some(read))) = read else { panic!("no chunk") };
                        assert_eq!(*read, *chunk);
                    }
                    (None, None) => assert!(read.is_pending()),
                    (None, Some(end)) => {
                        assert!(matches!(
                            (read, end),
                            (Poll::Ready(Ok(None)), Ok(())) | (Poll::Ready(Err(_)), Err(_))
                        ));
                    }
                }
            }
            3 => {
                let lies: usize = model.chunks.iter().map(Vec::len).sum();
                let expected = match (256_usize << 10).saturating_sub(lies) {
                    _ if model.is_left => Poll::Ready(Err(Left)),
                    0 => Poll::Pending,
                    room => Poll::Ready(Ok(room)),
                };
                assert_eq!(channel.try_room(), expected);
            }
            4 if *step < 40 => {
                if step % 4 == 0 {
                    channel.end()
                } else {
                    channel.cut()
                }
                let end = if step % 4 == 0 { Ok(()) } else { Err(Cut) };
                model.end.get_or_insert(end);
            }
            5 if *step < 10 => {
                channel.leave();
                model.is_left = true;
                model.chunks.clear();
            }
            _ => {}
        }
    }
}

fn ends(steps: &[u8]) {
    let streams = Streams::default();
    let mut handles = vec![0, u64::MAX];
    for step in steps {
        let at = usize::from(step / 6) % handles.len();
        let Some(handle) = handles.get(at).copied() else { continue };
        match step % 6 {
            0 => handles.extend(<[u64; 2]>::from(streams.make())),
            1 => drop(streams.read(handle).map(|channel| channel.try_read())),
            2 => drop(streams.write(handle).map(|channel| channel.write(vec![1, 2].into()))),
            3 => {
                streams.end(handle);
            }
            4 => {
                streams.forget(handle);
                assert!(streams.read(handle).is_none() && streams.write(handle).is_none());
            }
            _ => assert!(!(streams.read(handle).is_some() && streams.write(handle).is_some())),
        }
    }
}

fuzz_target!(|steps: &[u8]| {
    one_channel(steps);
    ends(steps);
});
