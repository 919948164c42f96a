//! Which providers have failed lately, and in which call. Noted where a call has failed already, so that
//! it may lock.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The latest failure of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The call: `interface#function`.
    pub call: String,
    /// The kind, as metrics have it.
    pub kind: &'static str,
    /// When.
    pub at: Instant,
}

/// The latest of each provider that has ever failed, by its name.
static LATEST: Mutex<BTreeMap<String, Failed>> = Mutex::new(BTreeMap::new());

/// Notes that a provider has failed just now.
#[cold]
pub fn note(provider: &str, interface: &str, function: &str, kind: &'static str) {
    let failed = Failed { call: format!("{interface}#{function}"), kind, at: Instant::now() };
    let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    match latest.get_mut(provider) {
        Some(before) => *before = failed,
        None => drop(latest.insert(provider.to_owned(), failed)),
    }
}

/// Forgets the failure of a provider that is known to be well again.
pub fn forget(provider: &str) {
    LATEST.lock().unwrap_or_else(PoisonError::into_inner).remove(provider);
}

/// The providers whose latest failure is no longer ago than that, in the order of their names.
pub fn within(time: Duration, now: Instant) -> Vec<(String, Failed)> {
    let latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    let is_recent =
        |(_, failed): &(&String, &Failed)| now.saturating_duration_since(failed.at) <= time;
    latest
        .iter()
        .filter(is_recent)
        .map(|(provider, failed)| (provider.clone(), failed.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_for_a_while_and_the_latest_counts() {
        let minute = Duration::from_secs(60);
        let told = |now| {
            let all = within(minute, now).into_iter();
            all.filter(|(provider, _)| provider == "failures-test").collect::<Vec<_>>()
        };
        assert_eq!(told(Instant::now()), []);
        note("failures-test", "a:b/c", "first", "panicked");
        note("failures-test", "a:b/c", "second", "deadline");
        let [(_, failed)] = &told(Instant::now())[..] else { panic!("it is not told once") };
        assert_eq!((failed.call.as_str(), failed.kind), ("a:b/c#second", "deadline"));
        assert_eq!(told(failed.at + minute).len(), 1);
        assert_eq!(told(failed.at + minute + Duration::from_millis(1)), []);
    }
}
