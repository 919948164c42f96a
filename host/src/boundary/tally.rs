//! Counts a store's calls by function, and tells the metrics now and then.
//!
//! A counter that all threads share costs each call more than the rest of what surrounds it, most of all
//! when several threads run the same workload. Here a call adds to a number of its own store.

use std::sync::Arc;

use smallvec::SmallVec;

use super::function::Function;

/// The calls of a store that the metrics do not know of yet. They are told when its requests have ended.
#[derive(Default)]
pub(super) struct Tally(SmallVec<[Entry; 4]>);

struct Entry {
    function: Arc<Function>,
    calls: u32,
}

/// How many calls of a function the metrics may be behind while a store lives.
const MOST: u32 = 256;

impl Tally {
    /// Counts a call.
    #[inline]
    pub(super) fn count(&mut self, function: &Arc<Function>) {
        // A store calls few functions, and the same ones again.
        match self.0.iter_mut().find(|entry| Arc::ptr_eq(&entry.function, function)) {
            Some(entry) => {
                entry.calls += 1;
                if entry.calls == MOST {
                    entry.tell();
                }
            }
            None => self.add(function),
        }
    }

    /// Tells of all calls, for the store may live for long.
    pub(super) fn tell(&mut self) {
        self.0.iter_mut().for_each(Entry::tell);
    }

    #[cold]
    fn add(&mut self, function: &Arc<Function>) {
        self.0.push(Entry { function: Arc::clone(function), calls: 1 });
    }
}

impl Entry {
    fn tell(&mut self) {
        if self.calls > 0 {
            self.function.count(u64::from(std::mem::take(&mut self.calls)));
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.tell();
    }
}

impl std::fmt::Debug for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tally").field("functions", &self.0.len()).finish()
    }
}
