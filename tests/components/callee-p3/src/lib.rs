//! Is called by the fixture extension `probe`, which awaits what this exports.

use std::sync::atomic::{AtomicU32, Ordering};

use bindings::exports::probe::types::concurrent_callbacks::Guest;
use wasip3::{clocks::monotonic_clock::wait_for, wit_bindgen::spawn_local};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package backplane:callee-p3;
            world callee-p3 {
                export probe:types/concurrent-callbacks@1.0.0;
            }
        ",
        path: "../../extensions/probe/wit/deps/probe-types",
        generate_all,
    });
}

struct Callee;

bindings::export!(Callee with_types_in bindings);

/// Calls that this instance has begun and not ended, and the most that there were.
static RUNNING: AtomicU32 = AtomicU32::new(0);
static MOST: AtomicU32 = AtomicU32::new(0);

const MILLISECOND: u64 = 1_000_000;

impl Guest for Callee {
    async fn wait(milliseconds: u32) -> u32 {
        let running = RUNNING.fetch_add(1, Ordering::Relaxed) + 1;
        MOST.fetch_max(running, Ordering::Relaxed);
        wait_for(u64::from(milliseconds) * MILLISECOND).await;
        RUNNING.fetch_sub(1, Ordering::Relaxed);
        MOST.load(Ordering::Relaxed)
    }

    async fn answer_first(milliseconds: u32) -> String {
        spawn_local(async move {
            wait_for(u64::from(milliseconds) * MILLISECOND).await;
            println!("what came behind the answer has ended");
        });
        "first".to_owned()
    }
}
