//! A `wasi:cli` 0.3 command that exchanges streams of values that are not numbers, and futures, with the fixture
//! extension `probe`, and exports a function of both for it. The first argument says which; what came of it is printed.

use std::env;

use bindings::{
    exports::probe::types::value_callbacks,
    probe::types::values::{self, Change, Entry, Grade, Marks, Point},
    wit_future, wit_stream,
};
use wasip3::{
    clocks::monotonic_clock::wait_for,
    exports::cli::run::Guest,
    wit_bindgen::{FutureReader, StreamReader, StreamResult, spawn_local},
};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package backplane:values-p3;
            world values-p3 {
                import probe:types/values@1.0.0;
                export probe:types/value-callbacks@1.0.0;
            }
        ",
        path: "../../extensions/probe/wit/deps/probe-types",
        additional_derives: [Clone, PartialEq],
        generate_all,
    });
}

struct Values;

wasip3::cli::command::export!(Values);
bindings::export!(Values with_types_in bindings);

fn point(at: u64) -> Point {
    Point { x: at as u32, is_set: at.is_multiple_of(3), y: at as f64 / 2.0 }
}

fn entry(at: u64) -> Entry {
    Entry {
        name: format!("entry {at} \u{1f980}"),
        number: at,
        tags: (0..at % 4).map(|tag| "t".repeat(tag as usize)).collect(),
        parts: at.is_multiple_of(2).then(|| (true, (0..(at % 1000) as u16).collect())),
    }
}

fn nameless() -> Entry {
    Entry { name: String::new(), number: 21, tags: Vec::new(), parts: None }
}

fn doubled(mut entry: Entry) -> Entry {
    entry.number *= 2;
    entry
}

/// Writes all of it, in writes of a size.
macro_rules! stream {
    ($values:expr, $at_once:expr) => {{
        let (mut writer, reader) = wit_stream::new();
        let (values, at_once) = ($values, $at_once);
        spawn_local(async move {
            let mut values = values.into_iter().peekable();
            while values.peek().is_some() {
                let chunk: Vec<_> = values.by_ref().take(at_once).collect();
                if !writer.write_all(chunk).await.is_empty() {
                    return;
                }
            }
        });
        reader
    }};
    ($values:expr) => {
        stream!($values, usize::MAX)
    };
}

fn future(entry: Entry) -> FutureReader<Entry> {
    let (writer, reader) = wit_future::new(nameless);
    spawn_local(async move { drop(writer.write(entry).await) });
    reader
}

/// Reads so many, in reads of a size.
async fn read(stream: &mut StreamReader<Point>, count: usize, at_once: usize) -> Vec<Point> {
    let mut points = Vec::new();
    while points.len() < count {
        let room = at_once.min(count - points.len());
        let (result, chunk) = stream.read(Vec::with_capacity(room)).await;
        points.extend(chunk);
        if !matches!(result, StreamResult::Complete(_)) {
            break;
        }
    }
    points
}

async fn perform(arguments: &[&str]) -> String {
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(0_u64);
    match arguments.first().copied().unwrap_or_default() {
        "entries" => {
            let entries: Vec<_> = (0..number(1)).map(entry).collect();
            let expected: Vec<_> = entries.iter().cloned().map(doubled).collect();
            let given = stream!(entries, number(2) as usize);
            let read = values::entries(given).await.collect().await;
            format!("{} {}", read.len(), read == expected)
        }
        "points" => {
            let mut stream = values::points(number(1), number(2) as u32).await;
            let read = read(&mut stream, number(1) as usize + 1, number(3) as usize).await;
            format!("{} {}", read.len(), read == (0..number(1)).map(point).collect::<Vec<_>>())
        }
        "sum-points" => {
            let points: Vec<_> = (0..number(1)).map(point).collect();
            format!("{:?}", values::sum_points(stream!(points)).await)
        }
        "changes" => {
            let changes = vec![
                Change::Nothing,
                Change::Gone("a".to_owned()),
                Change::Set(nameless()),
                Change::Nothing,
            ];
            format!("{:?}", values::changes(stream!(changes)).await.collect().await)
        }
        "small" => {
            let bools: Vec<_> = (0..1000).map(|at| at % 3 == 0).collect();
            let bytes: Vec<_> = (-128..=127).collect();
            let grades = vec![Grade::High, Grade::Low, Grade::Middle];
            let marks = vec![Marks::KEPT, Marks::empty(), Marks::all()];
            let (a, b, c, d) = values::small(
                stream!(bools.clone()),
                stream!(bytes.clone()),
                stream!(grades.clone()),
                stream!(marks.clone()),
            )
            .await;
            let a = a.collect().await == bools;
            let b = b.collect().await == bytes;
            let c = c.collect().await == grades;
            format!("{a} {b} {c} {}", d.collect().await == marks)
        }
        "pass" => {
            let none = values::pass(None).await.err();
            let entries: Vec<_> = (0..5000).map(entry).collect();
            match values::pass(Some(stream!(entries.clone()))).await {
                Ok(back) => format!("{none:?} {}", back.collect().await == entries),
                Err(error) => error,
            }
        }
        // A stream of the extension's goes through the guest's hands, of which it has read so many.
        "hand-on" => {
            let mut stream = values::points(10_000, 100).await;
            let read = read(&mut stream, number(1) as usize, number(1) as usize).await.len();
            format!("{read} {:?}", values::sum_points(stream).await)
        }
        "read-some" => {
            let (mut writer, reader) = wit_stream::new();
            let (mut sender, written) = wit_stream::new();
            spawn_local(async move {
                let mut written = 0;
                loop {
                    let left = writer.write_all((0..1000).map(point).collect()).await;
                    written += 1000 - left.len() as u64;
                    if !left.is_empty() {
                        drop(
                            sender
                                .write_all(written.to_le_bytes().map(|byte| byte as i8).to_vec())
                                .await,
                        );
                        return;
                    }
                }
            });
            let read = values::read_some(reader, number(1)).await;
            // The writer is told that nobody reads any more.
            let written: Vec<_> = written.collect().await.iter().map(|byte| *byte as u8).collect();
            let written = written.try_into().map(u64::from_le_bytes).unwrap_or(0);
            format!("{} {}", read >= number(1), written >= read)
        }
        "leave" => {
            let mut stream = values::points(u64::MAX, 1000).await;
            let read = read(&mut stream, 5000, 777).await;
            drop(stream);
            format!("{}", read.len())
        }
        "cut" => format!("{}", values::cut().await.collect().await.len()),
        "malformed" => format!("{:?}", values::malformed(number(1) == 1).await.collect().await),
        "later" => {
            let named = values::later(future(entry(2))).await.await;
            let nameless = values::later(future(nameless())).await.await;
            format!("{} {nameless:?}", named == Ok(doubled(entry(2))))
        }
        "number-later" => {
            // Each waits, and all of them together.
            let mut readers = Vec::new();
            for at in 0..20 {
                readers.push(values::number_later(at, 100 - at as u32).await);
            }
            let mut numbers = Vec::new();
            for reader in readers {
                numbers.push(reader.await);
            }
            format!("{}", numbers == (0..20).collect::<Vec<_>>())
        }
        "signal" => {
            let (writer, reader) = wit_future::new(|| ());
            let signalled = values::signal(reader).await;
            spawn_local(async move {
                wait_for(1_000_000).await;
                drop(writer.write(()).await);
            });
            format!("{:?}", signalled.await)
        }
        "never" => values::never().await.await,
        "twice" => values::twice().await.await,
        "wait" => format!("{}", values::wait(future(entry(5))).await == Ok(entry(5))),
        "pass-future" => {
            let back = values::pass_future(future(entry(6))).await;
            // And the extension's own goes back to it.
            let back = values::pass_future(values::pass_future(back).await).await;
            format!("{}", values::wait(back).await == Ok(entry(6)))
        }
        "forget" => {
            let (writer, reader) = wit_future::new(nameless);
            values::forget(reader).await;
            format!("{}", writer.write(entry(7)).await.is_ok())
        }
        "shouted" => {
            let texts: Vec<_> = arguments.iter().skip(1).map(|text| (*text).to_owned()).collect();
            format!("{:?}", values::have_shouted(texts).await)
        }
        other => format!("no `{other}` here"),
    }
}

impl Guest for Values {
    async fn run() -> Result<(), ()> {
        let arguments: Vec<_> = env::args().skip(1).collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        println!("{}", perform(&arguments).await);
        Ok(())
    }
}

impl value_callbacks::Guest for Values {
    async fn shout(mut texts: StreamReader<String>) -> FutureReader<String> {
        let (writer, reader) = wit_future::new(String::new);
        spawn_local(async move {
            let mut shouted = String::new();
            while let Some(text) = texts.next().await {
                if text == "trap" {
                    core::arch::wasm32::unreachable()
                }
                shouted.push_str(&text.to_uppercase());
            }
            drop(writer.write(shouted).await);
        });
        reader
    }
}
