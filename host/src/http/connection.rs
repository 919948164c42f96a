//! Serves one connection: its handshake, its version, and its end.

use std::{
    convert::Infallible,
    error::Error,
    future::Future,
    io,
    ops::ControlFlow,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::stream::{FuturesUnordered, StreamExt as _};
use hyper::service::service_fn;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    activity::{Activity, Due, Ending, Times},
    io::{Io, Prefix, Transport, Version},
    reload::Tls,
    respond::respond,
    serving::Serving,
};

/// What the requests of a connection share.
pub(super) struct Context {
    pub(super) serving: Serving,
    pub(super) activity: Arc<Activity>,
    pub(super) is_tls: bool,
    end: Arc<AtomicBool>,
}

impl Context {
    /// Whether the server's time to finish has run out: what still runs is cut.
    pub(super) fn is_stopped(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }
}

/// Serves a connection to its end. `stopped` changes when the server is to stop, and `end` is set when its
/// time to finish has run out.
pub(super) async fn serve(
    stream: TcpStream,
    tls: Option<Tls>,
    serving: Serving,
    stopped: watch::Receiver<()>,
    end: Arc<AtomicBool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("failed to set TCP_NODELAY: {error}");
    }
    let open = Open::new(&serving);
    let is_tls = tls.is_some();
    let opened = match tls {
        Some(tls) => shake_hands(stream, &tls).await,
        None => Ok((Transport::Plain(stream), None)),
    };
    let (transport, version) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            serving.meters().no_handshake.increment(1);
            tracing::debug!("a TLS handshake failed: {error}");
            return;
        }
    };
    let activity = Arc::new(Activity::new());
    let context = Context { serving: serving.clone(), activity, is_tls, end };
    speak(transport, version, Arc::new(context), stopped).await;
    drop(open);
}

/// Counts an open connection.
struct Open(Serving);

impl Open {
    fn new(serving: &Serving) -> Self {
        serving.meters().open.increment(1.0);
        Self(serving.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.meters().open.decrement(1.0);
    }
}

/// Agrees on keys and, if the client wants to, on a version.
async fn shake_hands(stream: TcpStream, tls: &Tls) -> io::Result<(Transport, Option<Version>)> {
    let accepted = TlsAcceptor::from(tls.current()).accept(stream);
    let stream = match tls.handshake_timeout() {
        Some(limit) => timeout(limit, accepted)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it took too long"))??,
        None => accepted.await?,
    };
    let version = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Some(Version::Http2),
        Some(_) => Some(Version::Http1),
        None => None,
    };
    Ok((Transport::Tls(Box::new(stream)), version))
}

async fn speak(
    mut transport: Transport,
    version: Option<Version>,
    context: Arc<Context>,
    mut stopped: watch::Receiver<()>,
) {
    let Context { serving, activity, .. } = &*context;
    let settings = serving.settings();
    let times = |is_multiplexed| Times {
        head: settings.head_timeout,
        idle: settings.idle_timeout,
        is_multiplexed,
    };
    let mut prefix = Prefix::default();
    let version = match version {
        Some(version) => version,
        None => {
            let read = prefix.read(&mut transport, activity);
            let ended =
                drive(read, times(false), &context, &mut stopped, |_| ControlFlow::Break(()));
            match ended.await {
                Some(Ok(Some(version))) => version,
                _ => return,
            }
        }
    };
    let io = Io::new(transport, prefix, Arc::clone(activity), settings.write_timeout);
    let shared = Arc::clone(&context);
    let service = service_fn(move |request| {
        let context = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(respond(context, request).await) }
    });
    let ended = match version {
        Version::Http1 => {
            let connection = serving.http1().serve_connection(io, service);
            drive(connection, times(false), &context, &mut stopped, |connection| {
                connection.graceful_shutdown();
                ControlFlow::Continue(())
            })
            .await
        }
        Version::Http2 => {
            let connection = serving.http2().serve_connection(io, service);
            drive(connection, times(true), &context, &mut stopped, |connection| {
                connection.graceful_shutdown();
                ControlFlow::Continue(())
            })
            .await
        }
    };
    if let Some(Err(error)) = ended {
        if is_timeout(&error) {
            serving.meters().slow_reader.increment(1);
        }
        tracing::debug!("a connection failed: {}", Causes(&error));
    }
}

/// Lets a connection run to its end, or until it breaks its times. `close` tells it to end after what
/// runs, or says that nothing can run in it yet.
async fn drive<C: Future>(
    connection: C,
    times: Times,
    context: &Context,
    stopped: &mut watch::Receiver<()>,
    close: impl Fn(Pin<&mut C>) -> ControlFlow<()>,
) -> Option<C::Output> {
    let activity = &context.activity;
    let mut connection = std::pin::pin!(connection);
    // It is looked at when it has happened, and not each time that the connection moves.
    let mut stop: FuturesUnordered<_> = [stopped.changed()].into_iter().collect();
    let mut ending = Ending::default();
    let mut timer = std::pin::pin!(sleep_until(Instant::now()));
    loop {
        let is_stopping = tokio::select! {
            biased;
            output = &mut connection => return Some(output),
            Some(_) = stop.next() => true,
            () = &mut timer => false,
        };
        let now = Instant::now();
        if is_stopping {
            ending.stopped = Some(now);
            activity.close();
        }
        // Over HTTP/1.1 a client hears it in the head of a response; one whose head is out already must
        // not find the connection closed behind it, for it may have sent its next request.
        let due = if is_stopping && times.is_multiplexed {
            Due::Close
        } else {
            times.due(activity, ending, now)
        };
        match due {
            Due::At(at) => timer.as_mut().reset(at),
            Due::Close if close(connection.as_mut()).is_break() => return None,
            Due::Close => {
                ending.told = Some(now);
                timer.as_mut().reset(now);
            }
            Due::SlowHead => {
                context.serving.meters().slow_head.increment(1);
                tracing::debug!("a connection was cut: its client took too long for a head");
                return None;
            }
            Due::Cut => return None,
        }
    }
}

/// Whether a connection ended because its client took nothing in its time.
fn is_timeout(error: &hyper::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error with what is behind it.
struct Causes<'a>(&'a hyper::Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        match self.0.source() {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}
