//! Accepts connections until it is told to stop, and then lets what runs finish.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    task::{JoinError, JoinSet},
    time::{Instant, timeout_at},
};

use super::{
    accept::{Accepted, Acceptor},
    connection,
    reload::Tls,
    route::Routes,
    serving::Serving,
};

/// The address to listen on cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address}: {}", remedy(source))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the operating system says.
    pub source: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there; expected a free port; stop it or choose another with `http.listen` (`--listen`)"
        }
        io::ErrorKind::PermissionDenied => {
            "this user may not; expected a port of 1024 or above, or the capability `CAP_NET_BIND_SERVICE`; \
             choose another with `http.listen` (`--listen`)"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; expected one of its own, `127.0.0.1` or `0.0.0.0`; \
             choose another with `http.listen` (`--listen`)"
        }
        _ => {
            "expected an address and port that are free; choose another with `http.listen` (`--listen`)"
        }
    }
}

/// How a server came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy when the time to finish ran out, and were cut.
    pub cut: usize,
}

/// A server that has its address and does not accept yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
}

impl Server {
    /// Takes an address. A port of 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let listener = listen(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, tls: None })
    }

    /// Speaks TLS, and nothing else.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// The address it has.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves HTTP/1.1 and HTTP/2 until `shutdown` is ready. Then it stops accepting, closes idle
    /// connections and lets requests, and guests that work on behind their response, finish within
    /// `drain`.
    pub async fn serve(
        self,
        serving: impl Into<Serving>,
        shutdown: impl Future,
        drain: Duration,
    ) -> Drained {
        let serving = serving.into();
        let (stop, stopped) = watch::channel(());
        let end = Arc::new(AtomicBool::new(false));
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        let mut acceptor = Acceptor::new(self.listener, serving.permits());
        let serve = |(stream, permit): Accepted| {
            let (tls, serving, stopped) = (self.tls.clone(), serving.clone(), stopped.clone());
            let served = connection::serve(stream, tls, serving, stopped, Arc::clone(&end));
            async move {
                served.await;
                drop(permit);
            }
        };
        loop {
            tokio::select! {
                biased;
                _ = &mut shutdown => break,
                Some(ended) = connections.join_next() => note_panic(ended),
                Some(accepted) = acceptor.next() => {
                    connections.spawn(serve(accepted));
                }
            }
        }
        for waiting in acceptor.close() {
            connections.spawn(serve(waiting));
        }
        drop(stop);
        finish(connections, serving.routes(), drain, &end).await
    }
}

/// Connections that the system keeps until they are accepted, as far as it may (`net.core.somaxconn`).
/// Clients that find no room try again after a second.
const BACKLOG: u32 = 4096;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of a server before are no reason to wait.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn finish(
    mut connections: JoinSet<()>,
    routes: &Routes,
    drain: Duration,
    end: &AtomicBool,
) -> Drained {
    let last = Instant::now() + drain;
    let all = async {
        while let Some(ended) = connections.join_next().await {
            note_panic(ended);
        }
        for workload in routes.current().targets() {
            workload.finished().await;
        }
    };
    let is_done = timeout_at(last, all).await.is_ok();
    let cut = connections.len();
    if !is_done {
        end.store(true, Ordering::Relaxed);
        connections.shutdown().await;
        for workload in routes.current().targets() {
            workload.end().await;
        }
    }
    Drained { cut }
}

fn note_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a connection panicked, which is a fault of the host: {error}");
    }
}
