//! Sends a guest's outbound requests, of WASI 0.2 and 0.3 alike.

use std::{error::Error as _, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::BodyExt;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use metrics::{Counter, counter, gauge};
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::{
    Grants,
    body::{Held, Interest, RequestBody, ResponseBody},
    connect,
    destination::Destination,
    pool::{Lease, Pool, Sender, Slot, Start},
    tls::{self, H2, Tls},
};
use crate::{
    metric::{OUTBOUND_CONNECTIONS, OUTBOUND_REQUESTS},
    name::WorkloadName,
    workload::spec::Outbound as Settings,
};

/// Chunks of a body that may wait for the other side before the guest has to: small bodies are then
/// done in one go.
const BODY_CHUNKS: usize = 4;

/// The largest chunk.
const BODY_CHUNK: usize = 64 << 10;

/// What a server may send ahead of the guest's reading, on one stream and on one connection of HTTP/2.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// The smallest buffer that hyper reads HTTP/1.1 with.
const SMALLEST_BUFFER: usize = 8192;

/// What `wasi:http` calls for a guest's outbound requests.
#[derive(Debug)]
pub(in crate::workload) struct Outbound(pub(in crate::workload) Arc<Grants>);

type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for Outbound {
    fn set_host_header(&mut self) -> bool {
        // It depends on the version of HTTP, which shows when there is a connection.
        false
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let grants = Arc::clone(&self.0);
        Box::new(async move {
            let mut counted =
                Counted { meters: &grants.client.meters, outcome: Outcome::Cancelled };
            let result = send(&grants, request, options.unwrap_or_default()).await;
            counted.outcome = Outcome::of(&result);
            drop(counted);
            // Connections are driven by tasks of their own, which may outlive the request.
            let driven: Box<dyn Future<Output = _> + Send> = Box::new(std::future::ready(Ok(())));
            Ok((result?.map(BodyExt::boxed_unsync), driven))
        })
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        BODY_CHUNKS
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK
    }
}

/// A workload's client for outbound requests.
#[derive(Debug)]
pub(super) struct Client {
    pool: Arc<Pool>,
    tls: Tls,
    settings: Settings,
    requests: Arc<Semaphore>,
    meters: Meters,
}

impl Client {
    pub(super) fn new(workload: &WorkloadName, settings: Settings, tls: Tls) -> Self {
        let open = gauge!(OUTBOUND_CONNECTIONS.name, "workload" => workload.to_string());
        Self {
            pool: Pool::new(settings.connections, settings.idle_timeout, open),
            tls,
            requests: Arc::new(Semaphore::new(settings.requests.min(Semaphore::MAX_PERMITS))),
            meters: Meters::new(workload),
            settings,
        }
    }
}

/// How a request ended, until its response began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Answered,
    Denied,
    Limited,
    TimedOut,
    Failed,
    Cancelled,
}

impl Outcome {
    const ALL: [Self; 6] = [
        Self::Answered,
        Self::Denied,
        Self::Limited,
        Self::TimedOut,
        Self::Failed,
        Self::Cancelled,
    ];

    fn of<T>(result: &Result<T, Error>) -> Self {
        match result {
            Ok(_) => Self::Answered,
            Err(
                Error::HttpRequestDenied
                | Error::DestinationIpProhibited
                | Error::HttpRequestUriInvalid
                | Error::HttpRequestMethodInvalid,
            ) => Self::Denied,
            Err(Error::ConnectionLimitReached) => Self::Limited,
            Err(
                Error::DnsTimeout
                | Error::ConnectionTimeout
                | Error::ConnectionReadTimeout
                | Error::HttpResponseTimeout,
            ) => Self::TimedOut,
            Err(_) => Self::Failed,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Denied => "denied",
            Self::Limited => "limited",
            Self::TimedOut => "timeout",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Debug)]
struct Meters([(Outcome, Counter); 6]);

impl Meters {
    fn new(workload: &WorkloadName) -> Self {
        Self(Outcome::ALL.map(|outcome| {
            let counter = counter!(OUTBOUND_REQUESTS.name,
                "workload" => workload.to_string(), "outcome" => outcome.label());
            (outcome, counter)
        }))
    }
}

/// A request that is counted when it ends, however that is.
struct Counted<'a> {
    meters: &'a Meters,
    outcome: Outcome,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if let Some((_, counter)) = self.meters.0.iter().find(|(of, _)| *of == self.outcome) {
            counter.increment(1);
        }
    }
}

/// How long a request may wait: as the guest says, and no longer than the settings do.
#[derive(Debug, Clone, Copy)]
struct Patience {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Patience {
    fn new(settings: &Settings, options: RequestOptions) -> Self {
        let least = |own: Option<Duration>, most: Duration| own.map_or(most, |own| own.min(most));
        Self {
            connect: least(options.connect_timeout, settings.connect_timeout),
            first_byte: least(options.first_byte_timeout, settings.first_byte_timeout),
            between_bytes: least(options.between_bytes_timeout, settings.between_bytes_timeout),
        }
    }
}

/// Sends a request to where it may go and waits for the head of its response. Redirects are the
/// guest's to follow; then they are checked as any request.
async fn send(
    grants: &Grants,
    request: Request<WasiBody>,
    options: RequestOptions,
) -> Result<Response<ResponseBody>, Error> {
    let client = &grants.client;
    if *request.method() == Method::CONNECT {
        return Err(Error::HttpRequestMethodInvalid);
    }
    let to = grants.check_listed(request.uri())?;
    let permit = Arc::clone(&client.requests).try_acquire_owned();
    let permit = permit.map_err(|_| Error::ConnectionLimitReached)?;
    let patience = Patience::new(&client.settings, options);
    let connected_by = Instant::now() + patience.connect;
    let uri = request.uri().clone();
    let (parts, body) = request.into_parts();
    let (body, interest) = RequestBody::new(body);
    let mut request = Request::from_parts(parts, body);
    loop {
        let mut lease = lease(grants, &to, connected_by).await?;
        let is_kept = lease.is_kept();
        let sending = async {
            match lease.sender() {
                Some(Sender::Http1(sender)) => {
                    as_http1(&mut request, &uri)?;
                    Ok(sender.try_send_request(request).await)
                }
                Some(Sender::Http2(sender)) => {
                    as_http2(&mut request, &uri);
                    Ok(sender.try_send_request(request).await)
                }
                None => Err(Error::InternalError(None)),
            }
        };
        let sent = match first_byte(sending, &interest, patience.first_byte).await {
            Some(sent) => sent?,
            None => {
                lease.give_up();
                return Err(Error::ConnectionReadTimeout);
            }
        };
        match sent {
            Ok(response) => {
                let held = Held { lease, interest, permit };
                let patience = patience.between_bytes;
                return Ok(response.map(|body| ResponseBody::new(body, held, patience)));
            }
            Err(error) => request = unsent(error, lease, is_kept)?,
        }
    }
}

/// Waits for the head of a response; not longer than so long, from when a part of the request was last
/// sent.
async fn first_byte<T>(
    sending: impl Future<Output = T>,
    interest: &Interest,
    patience: Duration,
) -> Option<T> {
    let mut sending = pin!(sending);
    loop {
        tokio::select! {
            biased;
            sent = &mut sending => return Some(sent),
            () = sleep(patience) => if !interest.has_moved() { return None },
        }
    }
}

/// A request again that a kept connection has not begun to send, since the server had closed it. No
/// other is sent twice.
fn unsent(
    mut error: TrySendError<Request<RequestBody>>,
    lease: Lease,
    is_kept: bool,
) -> Result<Request<RequestBody>, Error> {
    let request = error.take_message();
    lease.give_up();
    match request {
        Some(request) if is_kept => Ok(request),
        _ => Err(match failure(&error.into_error()) {
            // There is no head yet.
            Error::HttpResponseIncomplete => Error::ConnectionTerminated,
            error => error,
        }),
    }
}

/// RFC 9112: the target in origin form, and `Host` with the authority. `TE` is for this connection
/// alone, and nothing of ours reads what it would ask for.
fn as_http1(request: &mut Request<RequestBody>, uri: &Uri) -> Result<(), Error> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    *request.uri_mut() = target.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
    *request.version_mut() = http::Version::HTTP_11;
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let host = HeaderValue::from_str(host).map_err(|_| Error::HttpRequestUriInvalid)?;
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().remove(header::TE);
    Ok(())
}

/// RFC 9113: scheme and authority are fields of their own, and there is no `Host`.
fn as_http2(request: &mut Request<RequestBody>, uri: &Uri) {
    *request.uri_mut() = uri.clone();
    *request.version_mut() = http::Version::HTTP_2;
    request.headers_mut().remove(header::HOST);
}

/// A connection to a server: one that is there, or a new one.
async fn lease(grants: &Grants, to: &Destination, by: Instant) -> Result<Lease, Error> {
    let client = &grants.client;
    let start = timeout_at(by, client.pool.start(to)).await;
    let slot = match start.map_err(|_| Error::ConnectionLimitReached)? {
        Start::Kept(lease) => return Ok(lease),
        Start::New(slot) => slot,
    };
    let addresses = timeout_at(by, grants.addresses(to)).await.map_err(|_| Error::DnsTimeout)??;
    let sender = timeout_at(by, open(grants, to, &addresses, slot))
        .await
        .map_err(|_| Error::ConnectionTimeout)??;
    Ok(client.pool.adopt(to, sender))
}

/// Makes a connection to one of these addresses, which have been checked.
async fn open(
    grants: &Grants,
    to: &Destination,
    addresses: &[SocketAddr],
    slot: Slot,
) -> Result<Sender, Error> {
    let client = &grants.client;
    let config = match to.tls {
        false => None,
        true => Some(client.tls.config().await.map_err(|why| {
            grants.denials.failed(to, why);
            Error::ConfigurationError
        })?),
    };
    let stream: TcpStream =
        connect::connect(addresses).await.map_err(|error| not_connected(&error))?;
    let head = client.settings.response_head;
    let Some(config) = config else {
        return http1(TokioIo::new(stream), head, slot).await;
    };
    let stream = tls::connect(config, to.server_name()?, stream).await?;
    match stream.get_ref().1.alpn_protocol() {
        Some(H2) => http2(TokioIo::new(stream), head, slot).await,
        _ => http1(TokioIo::new(stream), head, slot).await,
    }
}

async fn http1<IO>(io: IO, head: usize, slot: Slot) -> Result<Sender, Error>
where
    IO: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_header_size(head).max_buf_size(head.max(SMALLEST_BUFFER));
    let (sender, connection) = builder.handshake(io).await.map_err(|error| failure(&error))?;
    drive(connection, slot);
    Ok(Sender::Http1(sender))
}

async fn http2<IO>(io: IO, head: usize, slot: Slot) -> Result<Sender, Error>
where
    IO: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(BODY_CHUNK)
        .handshake(io)
        .await
        .map_err(|error| failure(&error))?;
    drive(connection, slot);
    Ok(Sender::Http2(sender))
}

/// Drives a connection to its end, which comes when nobody can send on it any more.
fn drive<C>(connection: C, slot: Slot)
where
    C: Future<Output = hyper::Result<()>> + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(target: "egress", "a connection ended: {error}");
        }
        drop(slot);
    });
}

fn not_connected(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Error::DestinationIpUnroutable
        }
        _ => Error::DestinationUnavailable,
    }
}

/// What the guest is told of an exchange that failed.
pub(super) fn failure(error: &hyper::Error) -> Error {
    match error.source().and_then(|source| source.downcast_ref::<Error>()) {
        // The guest's own body.
        Some(Error::HttpRequestBodySize(size)) => return Error::HttpRequestBodySize(*size),
        Some(_) => return Error::InternalError(Some("the request's body failed".to_owned())),
        None => {}
    }
    if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(None)
    } else if error.is_incomplete_message() || error.is_body_write_aborted() {
        Error::HttpResponseIncomplete
    } else if error.is_timeout() {
        Error::HttpResponseTimeout
    } else if error.is_canceled()
        || error.is_closed()
        || error.source().is_some_and(|source| source.is::<io::Error>())
    {
        Error::ConnectionTerminated
    } else {
        Error::HttpProtocolError
    }
}
