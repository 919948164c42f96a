//! Streams between guests and an extension: the program with the real library, and a guest of WASI 0.3.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod io;
mod values;

use backplane_tests::{Lab, Ran, component, library};

const P3: &str = "streams-p3";

/// Runs a guest to its end.
pub(crate) async fn run(guest: &str, arguments: &[&str]) -> Ran {
    let lab = Lab::new();
    lab.write("plugins/probe.so", library("probe"));
    let lab = lab.with_config("enable = [\"probe\"]\n");
    let guest = component(guest);
    let mut all = vec!["run", guest.to_str().unwrap(), "--"];
    all.extend(arguments);
    lab.run(all).await
}

/// The guest prints that.
pub(crate) async fn prints(guest: &str, arguments: &[&str], text: &str) {
    let ran = run(guest, arguments).await;
    assert_eq!(ran.succeeds().trim_end(), text, "{arguments:?}");
}

#[tokio::test]
async fn what_a_guest_writes_is_read_to_its_end() {
    prints(P3, &["sum", "0"], "Ok((0, 0))").await;
    prints(P3, &["sum", "1"], "Ok((1, 0))").await;
    let sum: u64 = (0..1_000_000_u64).map(|at| at % 251).sum();
    prints(P3, &["sum", "1000000"], &format!("Ok((1000000, {sum}))")).await;
}

#[tokio::test]
async fn what_an_extension_writes_is_read_to_its_end_however_large_its_chunks_are() {
    for (count, chunk) in
        [("0", "1"), ("1000", "1"), ("100000", "7"), ("1000000", "65536"), ("3000000", "1000000")]
    {
        prints(P3, &["count-up", count, chunk], &format!("{count} true")).await;
    }
}

#[tokio::test]
async fn numbers_wider_than_a_byte_cross_in_both_directions() {
    prints(P3, &["double", "100000"], "100000 true").await;
    prints(P3, &["halve"], "[0.5, -1.5, inf]").await;
}

#[tokio::test]
async fn a_stream_inside_other_values_comes_back() {
    prints(P3, &["pass"], "Some(\"nothing was given\") a name 300000 true").await;
}

#[tokio::test]
async fn several_streams_at_once_are_told_apart() {
    let all = format!("[{}]", ["true"; 10].join(", "));
    prints(P3, &["ten"], &all).await;
}

#[tokio::test]
async fn a_writer_learns_that_its_reader_wants_no_more() {
    prints(P3, &["read-some", "100000"], "true true").await;
    prints(P3, &["leave", "50000"], "true").await;
}

#[tokio::test]
async fn a_stream_that_nobody_reads_holds_its_writer_and_no_more_than_its_channel() {
    let ran = run(P3, &["keep"]).await;
    let text = ran.succeeds().trim_end();
    let (taken, is_all) = text.split_once(' ').unwrap();
    // What a channel holds before its writer waits, and a chunk.
    let taken: usize = taken.parse().unwrap();
    assert!((200_000..=(256 + 64) << 10).contains(&taken), "{text}");
    assert_eq!(is_all, "true", "what was taken is there: {text}");
}

#[tokio::test]
async fn a_stream_that_its_writer_cuts_is_not_taken_for_all() {
    // The extension drops its end: the guest cannot be told but by a trap.
    let ran = run(P3, &["cut"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    ran.says(&["the stream was cut"]);
    // A guest that traps: the extension is told.
    prints(P3, &["turned", "HAL"], "Ok(\"IBM\")").await;
    let ran = run(P3, &["turned", "HA!L"]).await;
    let told = ran.succeeds();
    assert!(told.contains("Err(\"Unavailable: the stream was cut"), "{told}");
    ran.says(&["the guest trapped"]);
}

#[tokio::test]
async fn a_stream_of_streams_is_refused_by_name() {
    let lab = Lab::new();
    let text = "(component (import \"a:b/c@1.0.0\" (instance (type $n (stream u8)) (type $s (stream $n)) \
                (export \"f\" (func async (param \"s\" $s))))))";
    let file = lab.write("streams.wasm", wat::parse_str(text).unwrap());
    let refused = lab.run(["inspect".as_ref(), file.as_os_str()]).await;
    refused.is_refused(&["`a:b/c@1.0.0#f`", "`stream<stream<u8>>`"]);
}
