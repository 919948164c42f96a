//! Which servers cannot be reached.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// A server that cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// Its address, and why.
    pub reason: String,
    /// Since when that is known.
    pub since: Instant,
}

/// Those that are away, by their names.
static AWAY: Mutex<BTreeMap<String, Away>> = Mutex::new(BTreeMap::new());

/// Notes that a server cannot be reached.
pub fn note(server: &str, reason: &str) {
    let away = Away { reason: reason.to_owned(), since: Instant::now() };
    AWAY.lock().unwrap_or_else(PoisonError::into_inner).insert(server.to_owned(), away);
}

/// Notes that it can, or that nobody wants to know any more.
pub fn forget(server: &str) {
    AWAY.lock().unwrap_or_else(PoisonError::into_inner).remove(server);
}

/// The servers that cannot be reached, in the order of their names.
pub fn now() -> Vec<(String, Away)> {
    let away = AWAY.lock().unwrap_or_else(PoisonError::into_inner);
    away.iter().map(|(server, away)| (server.clone(), away.clone())).collect()
}
