//! Streams of other things than numbers, and futures, between a guest of WASI 0.3 and an extension.

use super::{prints, run};

const P3: &str = "values-p3";

#[tokio::test]
async fn records_cross_in_both_directions_in_writes_of_every_size() {
    for (count, at_once) in [("0", "1"), ("1", "1"), ("100", "1"), ("1000", "7"), ("3000", "3000")]
    {
        prints(P3, &["entries", count, at_once], &format!("{count} true")).await;
    }
}

#[tokio::test]
async fn a_chunk_is_read_in_parts_of_every_size() {
    for (count, chunk, at_once) in
        [("10", "10", "1"), ("1000", "1", "100"), ("1000", "64", "7"), ("100000", "5000", "1024")]
    {
        prints(P3, &["points", count, chunk, at_once], &format!("{count} true")).await;
    }
}

#[tokio::test]
async fn what_a_guest_writes_at_once_crosses_in_chunks() {
    let sum: u64 = (0..1_000_000).sum();
    let last = "Some(Point { x: 999999, is-set: true, y: 499999.5 })";
    let text = format!("Ok((1000000, {sum}, {last}))");
    let ran = run(P3, &["sum-points", "1000000"]).await;
    assert_eq!(ran.succeeds().trim_end().replace("is_set", "is-set"), text);
}

#[tokio::test]
async fn variants_bools_bytes_enums_flags_and_strings_cross() {
    let entry = r#"Entry { name: \"\", number: 21, tags: [], parts: None }"#;
    let text = format!("[\"nothing\", \"gone a\", \"set {entry}\", \"nothing\"]");
    prints(P3, &["changes"], &text).await;
    prints(P3, &["small"], "true true true true").await;
}

#[tokio::test]
async fn a_stream_of_values_comes_back_and_goes_on() {
    prints(P3, &["pass"], "Some(\"nothing was given\") true").await;
    let sum: u64 = (0..10_000).sum();
    let ran = run(P3, &["hand-on", "0"]).await;
    let text = ran.succeeds();
    assert!(text.starts_with(&format!("0 Ok((10000, {sum}, Some(")), "{text}");
    // Of whole chunks that were read, the others go on.
    let left: u64 = (200..10_000).sum();
    let ran = run(P3, &["hand-on", "200"]).await;
    let text = ran.succeeds();
    assert!(text.starts_with(&format!("200 Ok((9800, {left}, Some(")), "{text}");
}

#[tokio::test]
async fn a_stream_of_which_a_part_of_a_chunk_was_read_does_not_go_on_as_if_it_were_all() {
    run(P3, &["hand-on", "150"]).await.says(&["a part of a chunk was read"]);
}

#[tokio::test]
async fn either_side_may_want_no_more_values() {
    prints(P3, &["read-some", "50000"], "true true").await;
    prints(P3, &["leave"], "5000").await;
}

#[tokio::test]
async fn a_stream_of_values_that_is_cut_or_malformed_ends_the_guest() {
    run(P3, &["cut"]).await.says(&["the stream was cut"]);
    for is_empty in ["0", "1"] {
        run(P3, &["malformed", is_empty])
            .await
            .says(&["a provider wrote malformed values into a stream"]);
    }
}

#[tokio::test]
async fn futures_cross_in_both_directions() {
    prints(P3, &["later"], "true Err(42)").await;
    prints(P3, &["number-later"], "true").await;
    prints(P3, &["signal"], "()").await;
    prints(P3, &["wait"], "true").await;
    prints(P3, &["pass-future"], "true").await;
    prints(P3, &["forget"], "true").await;
}

#[tokio::test]
async fn a_future_without_its_value_or_with_two_ends_the_guest() {
    run(P3, &["never"]).await.says(&["the future was cut: its writer ended without its value"]);
    run(P3, &["twice"]).await.says(&["a provider wrote 2 values into a future"]);
}

#[tokio::test]
async fn a_workload_is_called_with_a_stream_of_values_and_answers_with_a_future() {
    prints(P3, &["shouted"], "Ok(\"\")").await;
    prints(P3, &["shouted", "one", "two \u{e9}"], "Ok(\"ONETWO \u{c9}\")").await;
    // What it promised does not come any more.
    let ran = run(P3, &["shouted", "one", "trap", "two"]).await;
    let text = ran.succeeds();
    assert!(text.starts_with("Err("), "{text}");
}
