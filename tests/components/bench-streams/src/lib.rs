//! The guest of `cargo xtask bench boundary` that moves streams of WASI 0.3.
//!
//! | case | moves | a unit |
//! |---|---|---|
//! | `stream-out` | bytes out of the guest | 1 MiB |
//! | `stream-in` | bytes into the guest | 1 MiB |
//! | `records-out` | records out of the guest | 1,000 |
//! | `records-in` | records into the guest | 1,000 |

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package bench:guest;
            world guest {
                import bench:streams/moving@1.0.0;
                export bench:streams/driver@1.0.0;
            }
        ",
        path: "../../../wit/bench-streams",
        additional_derives: [Clone],
        generate_all,
    });
}

use bindings::{
    bench::streams::moving::{self, Small},
    exports::bench::streams::driver::Guest,
    wit_stream,
};
use wit_bindgen::{StreamReader, StreamResult, StreamWriter};

const BYTES: u64 = 1 << 20;
const RECORDS: u64 = 1000;

struct Driver;

bindings::export!(Driver with_types_in bindings);

impl Guest for Driver {
    async fn run(case: String, chunk: u32, units: u32) -> u64 {
        let (units, room) = (u64::from(units), chunk as usize);
        match case.as_str() {
            "stream-out" => {
                let (writer, reader) = wit_stream::new();
                let write = write(writer, BYTES * units, vec![0x5a_u8; room]);
                futures::join!(moving::take_bytes(reader), write).0
            }
            "stream-in" => read(moving::make_bytes(BYTES * units, chunk).await, room).await,
            "records-out" => {
                let (writer, reader) = wit_stream::new();
                let records =
                    (0..chunk).map(|at| Small { a: at, b: u64::from(at), c: at & 1 == 1 });
                let write = write(writer, RECORDS * units, records.collect());
                futures::join!(moving::take_records(reader), write).0
            }
            "records-in" => read(moving::make_records(RECORDS * units, chunk).await, room).await,
            _ => core::arch::wasm32::unreachable(),
        }
    }
}

/// Writes the same chunk again and again, until it is so many elements.
async fn write<T: Clone>(mut writer: StreamWriter<T>, count: u64, chunk: Vec<T>) {
    let mut left = count as usize;
    let mut next = chunk.clone();
    while left > 0 {
        next.truncate(left);
        left -= next.len();
        // What comes back is the same memory, empty.
        next = writer.write_all(next).await;
        next.extend_from_slice(&chunk);
    }
}

/// Reads all of it, into the same memory each time: how many elements.
async fn read<T>(mut reader: StreamReader<T>, room: usize) -> u64 {
    let (mut count, mut buffer) = (0, Vec::with_capacity(room));
    loop {
        let (result, mut read) = reader.read(buffer).await;
        count += read.len() as u64;
        read.clear();
        buffer = read;
        if !matches!(result, StreamResult::Complete(_)) {
            return count;
        }
    }
}
