//! HTTP servers on loopback addresses that note what reaches them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_rustls::TlsAcceptor;

/// A server that answers each request with what it got: a line with version, method, path and the
/// number of the connection, then the headers, then the body.
///
/// `/redirect?TO` is answered with a redirect, `/close` closes the connection behind the answer, `/hold`
/// waits with the answer until [`Server::release`], and `/part` sends a part of its body and then waits.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    release: watch::Sender<usize>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    open: watch::Sender<usize>,
    requests: watch::Sender<usize>,
    /// Bodies of requests that were cut off.
    cut: watch::Sender<usize>,
}

impl Server {
    pub(crate) async fn start(address: &str) -> Self {
        Self::with(address, None).await
    }

    pub(crate) async fn with(address: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let release = watch::Sender::new(0);
        let (seen_by, released) = (Arc::clone(&seen), release.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = seen_by.connections.fetch_add(1, Ordering::SeqCst) + 1;
                seen_by.open.send_modify(|open| *open += 1);
                let (seen, release, tls) = (Arc::clone(&seen_by), released.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, false, number, &seen, &release).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                                serve(stream, h2, number, &seen, &release).await;
                            }
                        }
                    }
                    seen.open.send_modify(|open| *open -= 1);
                });
            }
        });
        Self { address, seen, release }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many requests have reached it.
    pub(crate) async fn has_seen(&self, requests: usize) {
        self.seen.requests.subscribe().wait_for(|seen| *seen >= requests).await.unwrap();
    }

    /// Waits until so many connections are open.
    pub(crate) async fn has_open(&self, connections: usize) {
        self.seen.open.subscribe().wait_for(|open| *open == connections).await.unwrap();
    }

    /// Waits until so many bodies were cut off.
    pub(crate) async fn has_cut(&self, bodies: usize) {
        self.seen.cut.subscribe().wait_for(|cut| *cut >= bodies).await.unwrap();
    }

    /// Lets one more of those that `/hold` go.
    pub(crate) fn release(&self) {
        self.release.send_modify(|released| *released += 1);
    }
}

async fn serve<IO>(
    stream: IO,
    h2: bool,
    number: usize,
    seen: &Arc<Seen>,
    release: &watch::Sender<usize>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service =
        service_fn(move |request| answer(request, number, Arc::clone(seen), release.subscribe()));
    let io = TokioIo::new(stream);
    // How the connection ends is what the client makes of it.
    if h2 {
        drop(
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(io, service)
                .await,
        );
    } else {
        drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
    }
}

type Answer = http_body_util::combinators::UnsyncBoxBody<Bytes, std::convert::Infallible>;

async fn answer(
    request: Request<Incoming>,
    number: usize,
    seen: Arc<Seen>,
    mut released: watch::Receiver<usize>,
) -> Result<Response<Answer>, std::convert::Infallible> {
    seen.requests.send_modify(|requests| *requests += 1);
    let (parts, body) = request.into_parts();
    let response = Response::builder();
    let full = |text: String| Full::new(Bytes::from(text)).boxed_unsync();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    if parts.uri.path() == "/redirect" {
        return Ok(response
            .status(302)
            .header("location", query)
            .body(full(String::new()))
            .unwrap());
    }
    if parts.uri.path() == "/early" {
        // Answers before the body is there, and then reads it.
        tokio::spawn(async move {
            if body.collect().await.is_err() {
                seen.cut.send_modify(|cut| *cut += 1);
            }
        });
        return Ok(response.body(full("early\n".to_owned())).unwrap());
    }
    if parts.uri.path() == "/part" {
        let (sender, receiver) = mpsc::channel::<Bytes>(1);
        sender.try_send(Bytes::from_static(b"a part")).unwrap();
        let body = Parts { receiver, _sender: sender };
        return Ok(response.body(body.boxed_unsync()).unwrap());
    }
    let Ok(body) = body.collect().await else {
        seen.cut.send_modify(|cut| *cut += 1);
        return Ok(response.status(400).body(full(String::new())).unwrap());
    };
    if parts.uri.path() == "/hold" {
        let nth = query.parse().unwrap_or(1);
        released.wait_for(|released| *released >= nth).await.unwrap();
    }
    let mut text = format!("{:?} {} {} on {number}\n", parts.version, parts.method, parts.uri);
    let mut names: Vec<_> = parts.headers.iter().collect();
    names.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in names {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    text.push_str(&String::from_utf8_lossy(&body.to_bytes()));
    let response = match parts.uri.path() {
        "/close" => response.header("connection", "close"),
        _ => response,
    };
    Ok(response.body(full(text)).unwrap())
}

/// A body that does not end.
struct Parts {
    receiver: mpsc::Receiver<Bytes>,
    _sender: mpsc::Sender<Bytes>,
}

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        self.receiver.poll_recv(cx).map(|part| part.map(|part| Ok(hyper::body::Frame::data(part))))
    }
}

/// An authority and what it certifies.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// TLS for a server of these names, which offers these protocols.
    pub(crate) fn tls(&self, names: &[&str], protocols: &[&str]) -> TlsAcceptor {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let certificate = CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}
