//! Keeps up with certificates whose files change.

use std::{
    convert::Infallible,
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::ServerConfig;
use tokio::time::{MissedTickBehavior, interval};

use super::tls::{self, TlsError, TlsSettings};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What TLS connections are made with: the certificates of now.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: TlsSettings,
    /// Of the files that were read first.
    prints: Vec<Print>,
    current: RwLock<Arc<ServerConfig>>,
}

/// What tells one content of a file from another without reading it: device, inode, size, and the
/// times of its last change of content and of anything. None if it cannot be had.
type Print = Option<[i64; 7]>;

fn print(file: &Path) -> Print {
    // Through links, such as those that Kubernetes puts in front of a secret's files.
    let metadata = fs::metadata(file).ok()?;
    Some([
        metadata.dev().cast_signed(),
        metadata.ino().cast_signed(),
        metadata.size().cast_signed(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ])
}

fn prints(settings: &TlsSettings) -> Vec<Print> {
    let files = settings.certificates.iter();
    files.flat_map(|files| [print(&files.certificate), print(&files.key)]).collect()
}

impl Tls {
    /// Reads the certificates, and warns of what is no error.
    ///
    /// # Errors
    ///
    /// [`TlsError`] for the first that cannot be used.
    pub fn load(settings: TlsSettings) -> Result<Self, TlsError> {
        // Taken first: what changes meanwhile is read again.
        let prints = prints(&settings);
        let current = RwLock::new(tls::load(&settings)?);
        tls::warn(&settings);
        Ok(Self(Arc::new(Inner { settings, prints, current })))
    }

    /// What the next connection is made with.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn handshake_timeout(&self) -> Option<Duration> {
        self.0.settings.handshake_timeout
    }

    /// Reads the certificates again whenever a file of theirs changes. New connections get the new
    /// ones; those that are open keep theirs. Files that cannot be used change nothing but the log. To be
    /// spawned once; it never ends.
    pub async fn watch(self) -> Infallible {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut loaded = self.0.prints.clone();
        let mut last = loaded.clone();
        loop {
            ticks.tick().await;
            let now = self.prints().await;
            // A certificate and its key are two files: what has just changed is let settle.
            let has_settled = now == last;
            last.clone_from(&now);
            if has_settled && now != loaded {
                loaded = now;
                self.reload().await;
            }
        }
    }

    async fn prints(&self) -> Vec<Print> {
        let this = self.clone();
        let look = move || prints(&this.0.settings);
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }

    async fn reload(&self) {
        let this = self.clone();
        let load = move || {
            let loaded = tls::load(&this.0.settings);
            if loaded.is_ok() {
                tls::warn(&this.0.settings);
            }
            loaded
        };
        match tokio::task::spawn_blocking(load).await {
            Ok(Ok(config)) => {
                *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = config;
                tracing::info!("the certificates have changed; new connections get the new ones");
            }
            Ok(Err(error)) => tracing::error!(
                "the certificates have changed and cannot be used: {error}; connections get those \
                 from before until the files change again"
            ),
            Err(error) => tracing::error!("the certificates cannot be read: {error}"),
        }
    }
}
