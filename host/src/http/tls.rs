//! TLS: certificates from files, chosen by the name that the client asks for.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use super::certificate;

/// How listeners speak TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificates, at least one. The first is shown to clients that ask for no name of any.
    pub certificates: Vec<CertificateFiles>,
    /// Whether clients must speak TLS 1.3; else 1.2 will do.
    pub only_tls_1_3: bool,
    /// Time that a client has to agree on keys.
    pub handshake_timeout: Option<Duration>,
}

/// The files of a certificate, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, then those that it is signed with, as far as clients may not know them.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("failed to read {}: {source}; expected a file in PEM that this user can read; see `http.tls.certificates`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} holds no {expected}: {source}; expected PEM, `-----BEGIN {label}-----` and so on", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// How that begins in PEM.
        label: &'static str,
        /// What is wrong.
        source: pem::Error,
    },
    /// The certificate is malformed, or of a kind that TLS does not know.
    #[error("the certificate in {} cannot be used: {source}; expected one of X.509, version 3; have it issued again", file.display())]
    Certificate {
        /// Its file.
        file: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The key is malformed, or of a kind that TLS does not know.
    #[error("the private key in {} cannot be used: {source}; expected an RSA, ECDSA (P-256 or P-384) or Ed25519 key without a password", file.display())]
    Key {
        /// Its file.
        file: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The key is another certificate's.
    #[error("the private key in {} is not of the certificate in {}, which stands first there; put the two that belong together", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The protocols cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Protocol(rustls::Error),
}

/// Reads the certificates and makes of them what connections are made with.
pub(super) fn load(settings: &TlsSettings) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let mut certificates = Certificates::default();
    for files in &settings.certificates {
        certificates.add(files, &provider)?;
    }
    let versions: &[_] = if settings.only_tls_1_3 { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(TlsError::Protocol)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Sessions are resumed by what the client keeps; the key is this process's, and changes with the
    // certificates.
    config.ticketer = ring::Ticketer::new().map_err(TlsError::Protocol)?;
    Ok(Arc::new(config))
}

/// Warns of what is no error: a key that others can read, a certificate out of its time, names that
/// another has already.
pub(super) fn warn(settings: &TlsSettings) {
    for CertificateFiles { certificate, key } in &settings.certificates {
        if let Ok(metadata) = fs::metadata(key)
            && metadata.permissions().mode() & 0o007 != 0
        {
            tracing::warn!(
                "every user of this machine can read the private key {}; expected its owner alone: \
                 `chmod o= {}`",
                key.display(),
                key.display()
            );
        }
        let Ok(chain) = chain(certificate) else { continue };
        let Some((begin, end)) = chain.first().and_then(certificate::validity) else { continue };
        let now = SystemTime::now();
        if end < now {
            tracing::warn!(
                "the certificate in {} has expired {} ago; clients will refuse it; replace the file, \
                 which is read again when it changes",
                certificate.display(),
                rough(now.duration_since(end).unwrap_or_default())
            );
        } else if begin > now {
            tracing::warn!(
                "the certificate in {} is valid only in {}; clients will refuse it; check the clock \
                 of this machine, or replace the file, which is read again when it changes",
                certificate.display(),
                rough(begin.duration_since(now).unwrap_or_default())
            );
        }
    }
}

fn rough(time: Duration) -> String {
    const HOUR: u64 = 3600;
    match time.as_secs() / HOUR {
        0 => "less than an hour".to_owned(),
        hours @ ..48 => format!("{hours} h"),
        hours => format!("{} days", hours / 24),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|source| TlsError::Read { file: file.to_owned(), source })
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let content = |source| TlsError::Content {
        file: file.to_owned(),
        expected: "certificate",
        label: "CERTIFICATE",
        source,
    };
    let pem = read(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(content)?;
    if chain.is_empty() { Err(content(pem::Error::NoItemsFound)) } else { Ok(chain) }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|source| TlsError::Content {
        file: file.to_owned(),
        expected: "private key",
        label: "PRIVATE KEY",
        source,
    })
}

/// The certificates by the names that they are for.
#[derive(Debug, Default)]
struct Certificates {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows `*.`.
    by_domain: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    fn add(&mut self, files: &CertificateFiles, provider: &CryptoProvider) -> Result<(), TlsError> {
        let of_certificate =
            |source| TlsError::Certificate { file: files.certificate.clone(), source };
        let of_key = |source| TlsError::Key { file: files.key.clone(), source };
        let chain = chain(&files.certificate)?;
        let names = chain.first().map(certificate::names).transpose();
        let names =
            names.map_err(|error| of_certificate(rustls::Error::General(error.to_string())))?;
        let key = provider.key_provider.load_private_key(private_key(&files.key)?);
        let certified = CertifiedKey::new(chain, key.map_err(of_key)?);
        match certified.keys_match() {
            // A key that does not tell its public half cannot be compared.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                let CertificateFiles { certificate, key } = files.clone();
                return Err(TlsError::Mismatch { certificate, key });
            }
            Err(error) => return Err(of_certificate(error)),
        }
        let certified = Arc::new(certified);
        for name in names.unwrap_or_default() {
            let (names, name) = match name.strip_prefix("*.") {
                Some(domain) => (&mut self.by_domain, domain),
                None => (&mut self.by_name, name.as_str()),
            };
            // Who comes first has the name.
            names.entry(name.to_owned()).or_insert_with(|| Arc::clone(&certified));
        }
        self.first.get_or_insert(certified);
        Ok(())
    }

    /// The certificate for a name, which is in lower case; a wildcard stands for one label.
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        self.by_name.get(name).or_else(|| self.by_domain.get(name.split_once('.')?.1))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = client.server_name().and_then(|name| self.find(&name.to_ascii_lowercase()));
        named.or(self.first.as_ref()).cloned()
    }
}
