//! Accepts connections until it is told to stop, and then lets what runs finish.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, pin::pin, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinError, JoinSet},
    time::{Instant, sleep, timeout_at},
};

use super::{respond::respond, route::Routes};

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait when the operating system has no socket left to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
}

impl Server {
    /// Takes an address. A port of 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address it has.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves HTTP/1.1 until `shutdown` is ready. Then it stops accepting, closes idle connections and
    /// lets requests, and guests that work on behind their response, finish within `drain`.
    pub async fn serve(
        self,
        routes: impl Into<Routes>,
        shutdown: impl Future,
        drain: Duration,
    ) -> Drained {
        let routes = routes.into();
        let (stop, stopped) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                _ = &mut shutdown => break,
                Some(ended) = connections.join_next() => note_panic(ended),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(serve_connection(stream, routes.clone(), stopped.clone()));
                    }
                    Err(error) => pause_for(&error).await,
                },
            }
        }
        drop(self.listener);
        drop(stop);
        finish(connections, &routes, drain).await
    }
}

async fn serve_connection(stream: TcpStream, routes: Routes, mut stopped: watch::Receiver<()>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("failed to set TCP_NODELAY: {error}");
    }
    let service =
        service_fn(|request| async { Ok::<_, Infallible>(respond(&routes, request).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        // The sender is dropped to tell everyone.
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("a connection failed: {error}");
    }
}

async fn finish(mut connections: JoinSet<()>, routes: &Routes, drain: Duration) -> Drained {
    let end = Instant::now() + drain;
    let all = async {
        while let Some(ended) = connections.join_next().await {
            note_panic(ended);
        }
        for workload in routes.current().targets() {
            workload.finished().await;
        }
    };
    if timeout_at(end, all).await.is_ok() {
        return Drained { cut: 0 };
    }
    let cut = connections.len();
    connections.shutdown().await;
    for workload in routes.current().targets() {
        workload.end().await;
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

/// An error of `accept` is about one connection, or about the process having no file left.
async fn pause_for(error: &io::Error) {
    match error.kind() {
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::Interrupted => {}
        _ => {
            tracing::warn!("failed to accept a connection: {error}; trying again");
            sleep(ACCEPT_PAUSE).await;
        }
    }
}
