//! A `wasi:cli` 0.2 command that exchanges streams of `wasi:io` with the fixture extension `probe`. The first argument
//! says which; what came of it is printed.

use std::env;

use bindings::{
    probe::io::streams,
    wasi::io::streams::{InputStream, OutputStream, StreamError},
};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package backplane:io;
            world io {
                import probe:io/streams@1.0.0;
                import wasi:cli/stdout@0.2.0;
            }
        ",
        path: [
            "../../../wit/wasi-io-0.2.0",
            "../../extensions/probe/wit/deps/probe-io",
            "wit/wasi-cli",
        ],
        generate_all,
    });
}

struct Command;

wasip2::cli::command::export!(Command);

impl wasip2::exports::cli::run::Guest for Command {
    fn run() -> Result<(), ()> {
        let arguments: Vec<_> = env::args().skip(1).collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        println!("{}", perform(&arguments));
        Ok(())
    }
}

/// Bytes as the extension counts them, too.
fn bytes(count: u64) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

/// Reads to the end: what there was, and how it ended.
fn read_all(stream: InputStream) -> (Vec<u8>, String) {
    let mut all = Vec::new();
    loop {
        match stream.blocking_read(100_000) {
            Ok(chunk) => all.extend(chunk),
            Err(StreamError::Closed) => return (all, "closed".to_owned()),
            Err(StreamError::LastOperationFailed(error)) => {
                return (all, error.to_debug_string());
            }
        }
    }
}

/// Writes all, as much as may be written at a time: how much was taken.
fn write_all(stream: &OutputStream, bytes: &[u8]) -> usize {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        let Ok(room) = stream.check_write() else { break };
        if room == 0 {
            stream.subscribe().block();
            continue;
        }
        let next = rest.get(..(room as usize).min(rest.len())).unwrap_or(rest);
        if stream.write(next).is_err() {
            break;
        }
        written += next.len();
    }
    written
}

fn perform(arguments: &[&str]) -> String {
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(0_u64);
    match arguments.first().copied().unwrap_or_default() {
        "open" => {
            let (read, end) = read_all(streams::open(number(1)));
            format!("{} {} {end}", read.len(), read == bytes(number(1)))
        }
        "create" => {
            let stream = streams::create();
            let written = write_all(&stream, &bytes(number(1)));
            drop(stream);
            format!("{written} {:?}", streams::written())
        }
        "create-and-trap" => {
            let stream = streams::create();
            write_all(&stream, &bytes(100));
            core::arch::wasm32::unreachable()
        }
        "sum" => format!("{:?}", streams::sum(streams::open(number(1)))),
        "fill" => {
            let none = streams::fill(None, 1);
            let stdout = bindings::wasi::cli::stdout::get_stdout();
            format!("{none:?} {:?}", streams::fill(Some(stdout), number(1)))
        }
        "cut" => match streams::cut() {
            Ok((name, stream)) => {
                let (read, end) = read_all(stream);
                format!("{name} {} {end}", read.len())
            }
            Err(error) => error,
        },
        "tire" => {
            let stream = streams::tire();
            let written = write_all(&stream, &bytes(10_000_000));
            format!("{}", written < 10_000_000)
        }
        other => format!("no `{other}` here"),
    }
}
