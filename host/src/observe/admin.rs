//! The admin address: `/livez`, `/readyz` and `/metrics`, over HTTP/1.1.
//!
//! Who watches the host asks here; nothing can be changed. Served on a runtime that no guest and no
//! extension runs on.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::{counter, gauge};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{
    health::{Health, Verdict},
    metrics::Metrics,
};
use crate::metric::{ADMIN_REQUESTS, READY};

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 64;
/// From the first byte of a connection to the last of its one response.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a request's head may take, in bytes: the least that hyper can be told.
const HEAD: usize = 8 << 10;
/// How long to wait when the operating system has no socket left to give.
const PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// As <https://prometheus.io/docs/instrumenting/exposition_formats/> has it.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The admin address cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to listen on {address}: {}; choose another with `admin.listen` (`--admin`), or `off`",
    expected(source)
)]
pub struct AdminError {
    /// The address.
    pub address: SocketAddr,
    /// What the operating system says.
    pub source: io::Error,
}

fn expected(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there; expected a free port",
        io::ErrorKind::PermissionDenied => "this user may not; expected a port of 1024 or above",
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; expected one of its own"
        }
        _ => "expected an address and port that are free",
    }
}

/// A server that has its address and does not answer yet.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

impl Admin {
    /// Takes the address. A port of 0 takes a free one. Called in the context of the runtime that will
    /// serve it.
    pub fn bind(address: SocketAddr) -> Result<Self, AdminError> {
        let bound = std::net::TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(Self { listener: TcpListener::from_std(listener)?, address })
        });
        bound.map_err(|source| AdminError { address, source })
    }

    /// The address it has.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers for as long as the runtime lives. To be spawned once.
    pub async fn serve(self, health: Health, metrics: Metrics) -> Infallible {
        let answers = Arc::new(Answers { health, metrics });
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let mut is_failing = false;
        loop {
            // An error means that the semaphore was closed, and nobody closes it.
            let permit = Arc::clone(&permits).acquire_owned().await.ok();
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    is_failing = false;
                    let served = serve(stream, Arc::clone(&answers));
                    tokio::spawn(async move {
                        // Who took too long is cut.
                        timeout(PATIENCE, served).await.ok();
                        drop(permit);
                    });
                }
                Err(error) => {
                    if !is_failing {
                        is_failing = true;
                        tracing::error!("the admin address cannot accept a connection: {error}");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Answers the one request of a connection.
async fn serve(stream: TcpStream, answers: Arc<Answers>) {
    let service = service_fn(|request: Request<_>| {
        let response = answers.counted(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!("a connection of the admin address failed: {error}");
    }
}

/// What there is to answer with.
struct Answers {
    health: Health,
    metrics: Metrics,
}

impl Answers {
    fn counted<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let response = self.answer(request);
        let path = match request.uri().path() {
            "/livez" => "/livez",
            "/readyz" => "/readyz",
            "/metrics" => "/metrics",
            _ => "other",
        };
        let status = response.status().as_u16().to_string();
        counter!(ADMIN_REQUESTS.name, "path" => path, "status" => status).increment(1);
        response
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let now = Instant::now();
        let answer: &dyn Fn() -> Response<Full<Bytes>> = match request.uri().path() {
            "/livez" => &|| told(request, &self.health.live(now)),
            "/readyz" => &|| told(request, &self.health.ready(now)),
            "/metrics" => &|| {
                let is_ready = self.health.ready(now).is_good;
                gauge!(READY.name).set(f64::from(u8::from(is_ready)));
                response(StatusCode::OK, EXPOSITION, self.metrics.render())
            },
            _ => {
                let text = "here are /livez, /readyz and /metrics\n";
                return response(StatusCode::NOT_FOUND, TEXT, text);
            }
        };
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return answer();
        }
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET or HEAD\n");
        refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        refused
    }
}

/// A verdict, as JSON for who asks for that, else as lines: the status, then each reason.
fn told<B>(request: &Request<B>, verdict: &Verdict) -> Response<Full<Bytes>> {
    let status = match verdict.is_good {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut accepted = request.headers().get_all(header::ACCEPT).iter();
    let wants_json = accepted.any(|value| value.to_str().is_ok_and(|value| value.contains(JSON)));
    if wants_json && let Ok(json) = serde_json::to_string(verdict) {
        return response(status, JSON, json);
    }
    let mut text = format!("{}\n", verdict.status);
    for reason in &verdict.reasons {
        text.extend([reason.reason, ": ", &reason.message, "\n"]);
    }
    response(status, TEXT, text)
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    fields.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
