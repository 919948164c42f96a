//! Takes connections from a listener, as many as may be open, and through times when there is no file
//! left for another.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout_at},
};

/// How long to wait when the operating system has no socket left to give.
const PAUSE: Duration = Duration::from_millis(100);

/// How long nothing must have failed for an episode of failures to be over: while files come and go, one
/// connection gets through and the next does not.
const QUIET: Duration = Duration::from_secs(2);

/// A listener, and what has gone wrong with it lately.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: TcpListener,
    /// The connections that may be open, of every listener.
    permits: Arc<Semaphore>,
    /// Whether as many are open as may be.
    is_full: bool,
    failing: Option<Failing>,
}

/// An episode in which connections could not be accepted.
#[derive(Debug, Clone, Copy)]
struct Failing {
    since: Instant,
    last: Instant,
    attempts: u64,
}

/// A connection, and the place that it takes.
pub(super) type Accepted = (TcpStream, OwnedSemaphorePermit);

impl Acceptor {
    pub(super) fn new(listener: TcpListener, permits: &Arc<Semaphore>) -> Self {
        Self { listener, permits: Arc::clone(permits), is_full: false, failing: None }
    }

    /// The next connection. Dropping the future loses none. None if the host is at its end.
    pub(super) async fn next(&mut self) -> Option<Accepted> {
        let permit = self.permit().await?;
        loop {
            let accepted = match self.failing {
                None => self.listener.accept().await,
                Some(failing) => {
                    match timeout_at(failing.last + QUIET, self.listener.accept()).await {
                        Ok(accepted) => accepted,
                        Err(_) => {
                            self.recovered(failing);
                            continue;
                        }
                    }
                }
            };
            match accepted {
                Ok((stream, _)) => return Some((stream, permit)),
                // The client left while it waited.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.failed(&error);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn permit(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            self.is_full = false;
            return Some(permit);
        }
        if !self.is_full {
            self.is_full = true;
            tracing::warn!(
                "as many connections are open as may be; others wait until one closes; raise \
                 `http.connections` if this machine can serve more"
            );
        }
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Once for an episode, however often it is tried meanwhile.
    fn failed(&mut self, error: &io::Error) {
        let last = Instant::now();
        match &mut self.failing {
            Some(failing) => {
                failing.last = last;
                failing.attempts += 1;
            }
            None => {
                self.failing = Some(Failing { since: last, last, attempts: 1 });
                tracing::error!("failed to accept a connection: {error}; {}", remedy(error));
            }
        }
    }

    fn recovered(&mut self, Failing { since, last, attempts }: Failing) {
        self.failing = None;
        let seconds = last.duration_since(since).as_secs_f32();
        tracing::info!(attempts, "connections are accepted again, after {seconds:.1} s");
    }

    /// Takes the connections that wait already, and closes the listener. Their clients count on an
    /// answer: what is left waiting is reset by the operating system.
    pub(super) fn close(self) -> Vec<Accepted> {
        let mut waiting = Vec::new();
        let listener = match self.listener.into_std() {
            Ok(listener) => listener,
            Err(error) => {
                tracing::debug!("the listener is closed with what waits on it: {error}");
                return waiting;
            }
        };
        while let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            match listener.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(true)?;
                TcpStream::from_std(stream)
            }) {
                Ok(stream) => waiting.push((stream, permit)),
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => break,
            }
        }
        waiting
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

fn remedy(error: &io::Error) -> &'static str {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => {
            "this process has as many files open as it may; raise its limit (`ulimit -n`, or \
             `LimitNOFILE=` of its service) or lower `http.connections`; trying again until one closes"
        }
        Some(Errno::NFILE) => {
            "this machine has as many files open as it may; raise the limit (`sysctl fs.file-max`) or \
             find who holds them; trying again until one closes"
        }
        Some(Errno::NOBUFS | Errno::NOMEM) => {
            "this machine has no memory left for sockets; trying again"
        }
        _ => "trying again",
    }
}
