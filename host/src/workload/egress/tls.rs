//! TLS of outbound requests: whom to trust, and each workload's own sessions.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    client::WebPkiServerVerifier,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{net::TcpStream, sync::OnceCell};
use tokio_rustls::{TlsConnector, client::TlsStream};
use wasmtime_wasi_http::Error;

/// HTTP/2 as servers choose it.
pub(super) const H2: &[u8] = b"h2";

/// Why outbound requests cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The file of certificate authorities cannot be read.
    #[error(
        "failed to read the certificate authorities in `{}` (`outbound.ca-file`); expected a file in \
         PEM with at least one certificate",
        path.display()
    )]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: rustls::pki_types::pem::Error,
    },
    /// It has a certificate that is no authority's.
    #[error(
        "failed to use a certificate in `{}` (`outbound.ca-file`); expected certificates of authorities",
        path.display()
    )]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// It has none.
    #[error(
        "failed to find a certificate in `{}` (`outbound.ca-file`); expected a file in PEM with at least one",
        path.display()
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
}

/// The certificate authorities that servers are checked by: the system's, read when they are first
/// needed, and those of the configuration. All workloads share them; they say nothing of anyone.
#[derive(Debug)]
pub(super) struct Authorities {
    own: RootCertStore,
    provider: Arc<CryptoProvider>,
    verifier: OnceCell<Arc<WebPkiServerVerifier>>,
}

impl Default for Authorities {
    fn default() -> Self {
        let provider = Arc::new(ring::default_provider());
        Self { own: RootCertStore::empty(), provider, verifier: OnceCell::new() }
    }
}

impl Authorities {
    /// Reads the file of further authorities, if there is one.
    pub(super) fn new(file: Option<&Path>) -> Result<Self, EgressError> {
        let mut new = Self::default();
        if let Some(file) = file {
            let unreadable = |source| EgressError::Authorities { path: file.to_owned(), source };
            for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
                new.own
                    .add(certificate.map_err(unreadable)?)
                    .map_err(|source| EgressError::Certificate { path: file.to_owned(), source })?;
            }
            if new.own.is_empty() {
                return Err(EgressError::NoCertificate { path: file.to_owned() });
            }
        }
        Ok(new)
    }

    /// What checks servers, or why none can be checked.
    async fn verifier(&self) -> Result<Arc<WebPkiServerVerifier>, String> {
        let verifier = self.verifier.get_or_try_init(|| async {
            let (mut roots, provider) = (self.own.clone(), Arc::clone(&self.provider));
            let read = move || {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    let faults: String = found.errors.iter().map(|e| format!(": {e}")).collect();
                    return Err(format!(
                        "this machine has no certificate authorities to check servers by{faults}; \
                         install its package of them (`ca-certificates`) or name a file of them in \
                         `outbound.ca-file`"
                    ));
                }
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| format!("the certificate authorities cannot be used: {error}"))
            };
            tokio::task::spawn_blocking(read)
                .await
                .unwrap_or_else(|_| Err("the certificate authorities could not be read".to_owned()))
        });
        verifier.await.cloned()
    }
}

/// A workload's side of TLS. Sessions that can be resumed are its own: no server can tell by them that
/// two workloads are on one host.
#[derive(Debug)]
pub(super) struct Tls {
    authorities: Arc<Authorities>,
    config: OnceCell<Arc<ClientConfig>>,
}

impl Tls {
    pub(super) fn new(authorities: Arc<Authorities>) -> Self {
        Self { authorities, config: OnceCell::new() }
    }

    /// What a connection is made with; or, in words for the operator, why none can be.
    pub(super) async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let config = self.config.get_or_try_init(|| async {
            let verifier = self.authorities.verifier().await?;
            let provider = Arc::clone(&self.authorities.provider);
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| format!("TLS cannot be set up: {error}"))?
                .with_webpki_verifier(verifier)
                .with_no_client_auth();
            config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
            Ok(Arc::new(config))
        });
        config.await.cloned()
    }
}

/// Begins TLS on a connection.
pub(super) async fn connect(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Error> {
    TlsConnector::from(config).connect(name, stream).await.map_err(|error| failure(&error))
}

/// What the guest is told of TLS that failed.
fn failure(error: &io::Error) -> Error {
    match error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(rustls::Error::AlertReceived(alert)) => Error::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: Some(format!("{alert:?}")),
        },
        Some(_) => Error::TlsProtocolError,
        None => Error::ConnectionTerminated,
    }
}
