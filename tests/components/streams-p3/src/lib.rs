//! A `wasi:cli` 0.3 command that exchanges streams with the fixture extension `probe`, and exports one for it. The
//! first argument says which; what came of it is printed.

use std::{env, future::poll_fn, pin::pin, task::Poll};

use bindings::{exports::probe::types::stream_callbacks, probe::types::streams, wit_stream};
use wasip3::{
    clocks::monotonic_clock::wait_for,
    exports::cli::run::Guest,
    wit_bindgen::{StreamReader, StreamResult, StreamWriter, spawn_local},
};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package backplane:streams-p3;
            world streams-p3 {
                import probe:types/streams@1.0.0;
                export probe:types/stream-callbacks@1.0.0;
            }
        ",
        path: "../../extensions/probe/wit/deps/probe-types",
        generate_all,
    });
}

struct Streams;

wasip3::cli::command::export!(Streams);
bindings::export!(Streams with_types_in bindings);

/// Bytes as the extension counts them, too.
fn bytes(count: u64) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

fn stream(bytes: Vec<u8>) -> StreamReader<u8> {
    let (mut writer, reader) = wit_stream::new();
    spawn_local(async move { drop(writer.write_all(bytes).await) });
    reader
}

/// Writes until nobody reads: how many bytes were taken.
async fn write_for_ever(mut writer: StreamWriter<u8>) -> u64 {
    let mut written = 0;
    loop {
        let left = writer.write_all(bytes(10_000)).await;
        written += 10_000 - left.len() as u64;
        if !left.is_empty() {
            return written;
        }
    }
}

async fn perform(arguments: &[&str]) -> String {
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(0_u64);
    match arguments.first().copied().unwrap_or_default() {
        "sum" => format!("{:?}", streams::sum(stream(bytes(number(1)))).await),
        "count-up" => {
            let read = streams::count_up(number(1), number(2) as u32).await.collect().await;
            format!("{} {}", read.len(), read == bytes(number(1)))
        }
        "double" => {
            let (mut writer, reader) = wit_stream::new();
            let numbers: Vec<u32> = (0..number(1) as u32).map(|at| at * 1000).collect();
            let doubled: Vec<_> = numbers.iter().map(|number| number * 2).collect();
            spawn_local(async move { drop(writer.write_all(numbers).await) });
            let read = streams::double(reader).await.collect().await;
            format!("{} {}", read.len(), read == doubled)
        }
        "halve" => {
            let (mut writer, reader) = wit_stream::new();
            spawn_local(
                async move { drop(writer.write_all(vec![1.0, -3.0, f64::INFINITY]).await) },
            );
            format!("{:?}", streams::halve(reader).await.collect().await)
        }
        "pass" => {
            let none = streams::pass(None).await.err();
            let given = streams::pass(Some(("a name".to_owned(), stream(bytes(300_000))))).await;
            match given {
                Ok((back, name)) => {
                    let read = back.collect().await;
                    format!("{none:?} {name} {} {}", read.len(), read == bytes(300_000))
                }
                Err(error) => error,
            }
        }
        "read-some" => {
            let (writer, reader) = wit_stream::new();
            let (sender, written) = wit_stream::new();
            spawn_local(async move {
                let mut sender = sender;
                drop(sender.write_all(write_for_ever(writer).await.to_le_bytes().to_vec()).await);
            });
            let read = streams::read_some(reader, number(1)).await;
            // The writer is told that nobody reads any more.
            let written = written.collect().await;
            let written = written.try_into().map(u64::from_le_bytes).unwrap_or(0);
            format!("{} {}", read >= number(1), written >= read)
        }
        "cut" => {
            let read = streams::cut().await.collect().await;
            format!("{}", read.len())
        }
        "leave" => {
            let mut endless = streams::endless().await;
            let mut read = 0;
            while read < number(1) {
                let (result, chunk) = endless.read(Vec::with_capacity(1000)).await;
                assert!(!matches!(result, StreamResult::Dropped), "it has an end");
                read += chunk.len() as u64;
            }
            drop(endless);
            format!("{}", streams::written().await >= read)
        }
        "keep" => {
            let (mut writer, reader) = wit_stream::new();
            streams::keep(reader).await;
            // Nobody reads it: the writer stands still when the host has taken what it may.
            let mut taken = 0;
            loop {
                let mut write = pin!(writer.write(bytes(10_000)));
                let mut pause = pin!(wait_for(50_000_000));
                let first = poll_fn(|cx| match write.as_mut().poll(cx) {
                    Poll::Ready((result, _)) => Poll::Ready(Some(result)),
                    Poll::Pending => pause.as_mut().poll(cx).map(|()| None),
                });
                let (result, is_last) = match first.await {
                    Some(result) => (result, false),
                    None => (write.as_mut().cancel().0, true),
                };
                if let StreamResult::Complete(count) = result {
                    taken += count as u64;
                }
                if is_last {
                    break;
                }
            }
            drop(writer);
            let kept = streams::kept().await;
            format!("{taken} {}", kept == Ok(taken))
        }
        "turned" => {
            let text = arguments.get(1).copied().unwrap_or_default();
            format!("{:?}", streams::have_turned(text.to_owned()).await)
        }
        "ten" => {
            // Ten at once, each with its own bytes.
            let mut sums = Vec::new();
            let readers: Vec<_> = (1..=10).map(|n| stream(vec![n; 100_000])).collect();
            for (n, reader) in readers.into_iter().enumerate() {
                let (count, sum) = streams::sum(reader).await.unwrap_or_default();
                sums.push(count == 100_000 && sum == 100_000 * (n as u64 + 1));
            }
            format!("{sums:?}")
        }
        other => format!("no `{other}` here"),
    }
}

impl Guest for Streams {
    async fn run() -> Result<(), ()> {
        let arguments: Vec<_> = env::args().skip(1).collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        println!("{}", perform(&arguments).await);
        Ok(())
    }
}

impl stream_callbacks::Guest for Streams {
    async fn turn(mut bytes: StreamReader<u8>) -> StreamReader<u8> {
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move {
            while let Some(byte) = bytes.next().await {
                if byte == b'!' {
                    core::arch::wasm32::unreachable()
                }
                // What nobody reads comes back.
                if writer.write_one(byte.wrapping_add(1)).await.is_some() {
                    break;
                }
            }
        });
        reader
    }
}
