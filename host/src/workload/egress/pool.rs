//! A workload's connections to servers: kept while idle, shared over HTTP/2, never more than so many.
//!
//! Each workload has its own. A connection was made to an address that its workload may reach, under a
//! TLS session of its own; shared, it would let one workload use what another was granted, and let a
//! server tell that two workloads are on one host.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use hyper::client::conn::{http1, http2};
use metrics::Gauge;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use super::{body::RequestBody, destination::Destination};

/// The way to send requests on a connection.
#[derive(Debug)]
pub(super) enum Sender {
    /// One request at a time.
    Http1(http1::SendRequest<RequestBody>),
    /// Many.
    Http2(http2::SendRequest<RequestBody>),
}

/// The right to one connection, held by the task that drives it.
#[derive(Debug)]
pub(super) struct Slot {
    open: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.open.decrement(1.0);
    }
}

/// What a request begins with.
#[derive(Debug)]
pub(super) enum Start {
    /// A connection that is there.
    Kept(Lease),
    /// The right to make one.
    New(Slot),
}

/// The connections of one workload.
#[derive(Debug)]
pub(super) struct Pool {
    kept: Mutex<Kept>,
    slots: Arc<Semaphore>,
    /// Told when a connection becomes idle, for those who wait for one.
    idle: Notify,
    idle_timeout: Duration,
    open: Gauge,
}

#[derive(Debug, Default)]
struct Kept {
    servers: HashMap<Destination, Server>,
    next_id: u64,
    is_swept: bool,
}

/// The connections to one server.
#[derive(Debug, Default)]
struct Server {
    /// Those of HTTP/1.1 that nobody uses, the longest idle first.
    idle: Vec<(Instant, http1::SendRequest<RequestBody>)>,
    shared: Option<Shared>,
}

/// A connection of HTTP/2.
#[derive(Debug)]
struct Shared {
    id: u64,
    sender: http2::SendRequest<RequestBody>,
    users: usize,
    idle_since: Instant,
}

impl Server {
    /// Takes out what can be closed that is idle since `until` or before. Answers with the time from
    /// which the rest is idle, if any is.
    fn sweep(&mut self, until: Instant) -> Option<Instant> {
        self.idle.retain(|(since, sender)| *since > until && !sender.is_closed());
        self.shared = self.shared.take().filter(|shared| {
            !shared.sender.is_closed() && (shared.users > 0 || shared.idle_since > until)
        });
        self.longest_idle()
    }

    fn longest_idle(&self) -> Option<Instant> {
        let shared = self.shared.as_ref().filter(|shared| shared.users == 0);
        let shared = shared.map(|shared| shared.idle_since);
        self.idle.iter().map(|(since, _)| *since).chain(shared).min()
    }

    fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.shared.is_none()
    }
}

impl Pool {
    pub(super) fn new(connections: usize, idle_timeout: Duration, open: Gauge) -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::default(),
            slots: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            idle: Notify::new(),
            idle_timeout,
            open,
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to a server, or the right to make one. Waits while there are as many as may be and
    /// all are in use; an idle one to another server is closed to make room.
    pub(super) async fn start(self: &Arc<Self>, to: &Destination) -> Start {
        loop {
            if let Some(lease) = self.take(to) {
                return Start::Kept(lease);
            }
            if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
                return Start::New(self.slot(permit));
            }
            self.close_longest_idle();
            tokio::select! {
                permit = Arc::clone(&self.slots).acquire_owned() => {
                    if let Ok(permit) = permit {
                        return Start::New(self.slot(permit));
                    }
                }
                () = self.idle.notified() => {}
            }
        }
    }

    fn slot(&self, permit: OwnedSemaphorePermit) -> Slot {
        self.open.increment(1.0);
        Slot { open: self.open.clone(), _permit: permit }
    }

    fn take(self: &Arc<Self>, to: &Destination) -> Option<Lease> {
        let mut kept = self.kept();
        let server = kept.servers.get_mut(to)?;
        let (id, sender) = match &mut server.shared {
            Some(shared) if !shared.sender.is_closed() => {
                shared.users += 1;
                (shared.id, Sender::Http2(shared.sender.clone()))
            }
            _ => loop {
                // The last one used is the least likely to be closed by the server just now.
                let (_, sender) = server.idle.pop()?;
                if sender.is_ready() {
                    break (0, Sender::Http1(sender));
                }
            },
        };
        drop(kept);
        Some(self.lease(to, id, sender, true))
    }

    fn lease(self: &Arc<Self>, to: &Destination, id: u64, sender: Sender, is_kept: bool) -> Lease {
        Lease { pool: Arc::clone(self), to: to.clone(), id, sender: Some(sender), is_kept }
    }

    /// Takes in a connection that was just made, for its first request.
    pub(super) fn adopt(self: &Arc<Self>, to: &Destination, sender: Sender) -> Lease {
        let mut id = 0;
        if let Sender::Http2(sender) = &sender {
            let mut kept = self.kept();
            kept.next_id += 1;
            id = kept.next_id;
            let server = kept.servers.entry(to.clone()).or_default();
            // Of several that were made at once the first is shared; the others end with their request.
            if server.shared.as_ref().is_none_or(|shared| shared.sender.is_closed()) {
                let (sender, idle_since) = (sender.clone(), Instant::now());
                server.shared = Some(Shared { id, sender, users: 1, idle_since });
            }
        }
        self.lease(to, id, sender, false)
    }

    /// Takes back a connection of HTTP/1.1 that is ready for its next request.
    fn put(self: &Arc<Self>, to: Destination, sender: http1::SendRequest<RequestBody>) {
        let mut kept = self.kept();
        kept.servers.entry(to).or_default().idle.push((Instant::now(), sender));
        self.became_idle(kept);
    }

    /// Notes that a request on a shared connection is over.
    fn leave(self: &Arc<Self>, to: &Destination, id: u64) {
        let mut kept = self.kept();
        let server = kept.servers.get_mut(to);
        if let Some(shared) =
            server.and_then(|server| server.shared.as_mut()).filter(|shared| shared.id == id)
        {
            shared.users = shared.users.saturating_sub(1);
            shared.idle_since = Instant::now();
            if shared.users == 0 {
                self.became_idle(kept);
            }
        }
    }

    fn became_idle(self: &Arc<Self>, mut kept: MutexGuard<'_, Kept>) {
        let sweep = !std::mem::replace(&mut kept.is_swept, true);
        drop(kept);
        self.idle.notify_one();
        if sweep && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(sweep_idle(Arc::downgrade(self)));
        }
    }

    /// Does not give out a shared connection again.
    fn forget(&self, to: &Destination, id: u64) {
        if let Some(server) = self.kept().servers.get_mut(to) {
            server.shared = server.shared.take().filter(|shared| shared.id != id);
        }
    }

    fn close_longest_idle(&self) {
        let mut kept = self.kept();
        let longest =
            kept.servers.iter().filter_map(|(to, server)| Some((server.longest_idle()?, to)));
        if let Some((since, to)) = longest.min_by_key(|(since, _)| *since) {
            let to = to.clone();
            if let Some(server) = kept.servers.get_mut(&to) {
                server.sweep(since);
            }
        }
    }

    /// Closes what is idle too long. Answers when to look again; not at all if nothing is idle.
    fn sweep(&self) -> Option<Instant> {
        let mut kept = self.kept();
        let until = Instant::now().checked_sub(self.idle_timeout);
        let mut longest: Option<Instant> = None;
        kept.servers.retain(|_, server| {
            let rest = match until {
                Some(until) => server.sweep(until),
                None => server.longest_idle(),
            };
            longest = longest.into_iter().chain(rest).min();
            !server.is_empty()
        });
        let next = longest.map(|since| since + self.idle_timeout);
        kept.is_swept = next.is_some();
        next
    }
}

/// Closes connections as their time comes, as long as any is idle.
async fn sweep_idle(pool: Weak<Pool>) {
    while let Some(next) = pool.upgrade().and_then(|pool| pool.sweep()) {
        sleep_until(next).await;
    }
}

/// A connection for one request. Dropped, a connection of HTTP/1.1 ends: what is left on it is not
/// known.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Arc<Pool>,
    to: Destination,
    id: u64,
    sender: Option<Sender>,
    is_kept: bool,
}

impl Lease {
    /// Whether it was used before. Then the server may have closed it meanwhile.
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// The way to send the request.
    pub(super) fn sender(&mut self) -> Option<&mut Sender> {
        self.sender.as_mut()
    }

    /// Gives the connection up: it did not do what it should, and nobody is to get it again.
    pub(super) fn give_up(self) {
        self.pool.forget(&self.to, self.id);
    }

    /// Gives the connection back when its response has been read. It is kept once the request's body
    /// has been sent as well.
    pub(super) fn give_back(mut self) {
        let Some(Sender::Http1(_)) = &self.sender else { return };
        let Some(Sender::Http1(mut sender)) = self.sender.take() else { return };
        if sender.is_ready() {
            self.pool.put(self.to.clone(), sender);
        } else if !sender.is_closed()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (pool, to) = (Arc::downgrade(&self.pool), self.to.clone());
            runtime.spawn(async move {
                if sender.ready().await.is_ok()
                    && let Some(pool) = pool.upgrade()
                {
                    pool.put(to, sender);
                }
            });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(Sender::Http2(_)) = &self.sender {
            self.pool.leave(&self.to, self.id);
        }
    }
}
