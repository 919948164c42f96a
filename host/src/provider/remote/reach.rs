//! Whether a server can be reached: tried when the host starts, and, once a call could not reach it, until it
//! can again. The host says so in its log and its health, and does nothing else about it.

use std::{io, sync::Arc, time::Duration};

use tokio::{sync::Notify, task::JoinHandle, time};

use super::address::Address;
use crate::{
    name::ProviderName,
    watch::{failures, unreachable},
};

/// Time between two attempts to reach a server that is away.
const EVERY: Duration = Duration::from_secs(1);

/// Watches one server, while this lives.
pub(super) struct Reach {
    missed: Arc<Notify>,
    watching: JoinHandle<()>,
    name: ProviderName,
}

impl Reach {
    /// Begins to watch. Must be called inside a runtime.
    pub(super) fn watch(name: &ProviderName, address: &Address, timeout: Duration) -> Self {
        let missed = Arc::new(Notify::new());
        let watch = watch(name.clone(), address.clone(), timeout, Arc::clone(&missed));
        Self { missed, watching: tokio::spawn(watch), name: name.clone() }
    }

    /// Says that a call could not reach the server.
    pub(super) fn missed(&self) {
        self.missed.notify_one();
    }
}

impl Drop for Reach {
    fn drop(&mut self) {
        self.watching.abort();
        unreachable::forget(self.name.as_str());
    }
}

async fn watch(name: ProviderName, address: Address, timeout: Duration, missed: Arc<Notify>) {
    let mut was_away = false;
    loop {
        let attempt = time::timeout(timeout, address.connect()).await;
        // Closed at once: a server may take one connection's header at a time.
        let reached = attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(drop);
        match reached {
            Ok(()) => {
                if was_away {
                    tracing::info!(server = %name, %address, "the server can be reached again");
                    unreachable::forget(name.as_str());
                    failures::forget(name.as_str());
                } else {
                    tracing::info!(server = %name, %address, "the server can be reached");
                }
                was_away = false;
                missed.notified().await;
            }
            Err(error) => {
                if !was_away {
                    tracing::warn!(
                        server = %name,
                        %address,
                        "the server cannot be reached: {error}; calls of it fail until it is there"
                    );
                    unreachable::note(name.as_str(), &format!("{address}: {error}"));
                }
                was_away = true;
                time::sleep(EVERY).await;
            }
        }
    }
}
