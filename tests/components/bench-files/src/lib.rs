//! The guest of `cargo xtask bench boundary` that reads streams of WASI 0.2. A unit of `input-stream` is 1 MiB.

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package bench:guest;
            world guest {
                import bench:files/files@1.0.0;
                export bench:kv/driver@1.0.0;
            }
        ",
        path: ["../../../wit/wasi-io-0.2.0", "../../../wit/bench-files", "../../../wit/bench-kv"],
        generate_all,
    });
}

use bindings::{
    bench::files::files, exports::bench::kv::driver::Guest, wasi::io::streams::StreamError,
};

const UNIT: u64 = 1 << 20;

struct Driver;

bindings::export!(Driver with_types_in bindings);

impl Guest for Driver {
    fn run(case: String, bytes: u32, iterations: u32) -> u64 {
        if case != "input-stream" {
            core::arch::wasm32::unreachable()
        }
        let stream = files::open(UNIT * u64::from(iterations), bytes);
        let mut count = 0;
        loop {
            match stream.blocking_read(u64::from(bytes)) {
                Ok(chunk) => count += chunk.len() as u64,
                Err(StreamError::Closed) => return count,
                Err(StreamError::LastOperationFailed(_)) => core::arch::wasm32::unreachable(),
            }
        }
    }
}
