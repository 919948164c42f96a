//! The streams of `wasi:io`, for guests of WASI 0.2.

use crate::{prints, run};

#[tokio::test]
async fn a_guest_reads_what_an_extension_writes() {
    for count in ["0", "1", "100000", "2000000"] {
        prints("io", &["open", count], &format!("{count} true closed")).await;
    }
}

#[tokio::test]
async fn an_extension_reads_what_a_guest_writes_when_the_guest_has_closed_it() {
    for count in [0, 1, 1_000_000_u64] {
        let sum: u64 = (0..count).map(|at| at % 251).sum();
        let told = format!("{count} Ok(({count}, {sum}))");
        prints("io", &["create", &count.to_string()], &told).await;
    }
}

#[tokio::test]
async fn a_guest_gives_streams_away_that_it_has_of_others() {
    let sum: u64 = (0..500_000_u64).map(|at| at % 251).sum();
    prints("io", &["sum", "500000"], &format!("Ok((500000, {sum}))")).await;
    // Standard output is one, too.
    let ran = run("io", &["fill", "100"]).await;
    let printed = ran.succeeds();
    assert!(printed.contains("Err(\"nothing to fill\") Ok(100)\n"), "{printed:?}");
    assert_eq!(printed.matches('A').count(), 1, "what was written is there: {printed:?}");
}

#[tokio::test]
async fn a_part_is_not_taken_for_the_whole() {
    let cut = "cut 100 the stream was cut: its writer ended before the stream did";
    prints("io", &["cut"], cut).await;
    let ran = run("io", &["create-and-trap"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
}

#[tokio::test]
async fn a_guest_learns_that_nobody_reads_any_more() {
    prints("io", &["tire"], "true").await;
}
