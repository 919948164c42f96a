//! HTTPS: versions by ALPN, certificates by name, and what happens when their files change.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use backplane::http::{CertificateFiles, Tls, TlsSettings};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    observed::Log,
    support::{Host, Options, engines, spec, within},
};

/// A folder with certificates, each its own authority.
struct Certificates {
    folder: tempfile::TempDir,
    roots: RootCertStore,
}

impl Certificates {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), roots: RootCertStore::empty() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `NAME.crt` and `NAME.key`, for these host names.
    fn write(&mut self, name: &str, hosts: &[&str]) -> CertificateDer<'static> {
        self.write_with(name, hosts, |_| {})
    }

    fn write_with(
        &mut self,
        name: &str,
        hosts: &[&str],
        change: impl FnOnce(&mut rcgen::CertificateParams),
    ) -> CertificateDer<'static> {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(hosts).unwrap();
        change(&mut params);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(self.path(&format!("{name}.crt")), certificate.pem()).unwrap();
        let file = self.path(&format!("{name}.key"));
        fs::write(&file, key.serialize_pem()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        self.roots.add(certificate.der().clone()).unwrap();
        certificate.der().clone()
    }

    fn files(&self, name: &str) -> CertificateFiles {
        files(self.folder.path(), name)
    }

    fn load(&self, names: &[&str]) -> Tls {
        Tls::load(settings(names.iter().map(|name| self.files(name)).collect())).unwrap()
    }

    async fn connect(&self, host: &Host, name: &str, alpn: &[&str]) -> TlsStream<TcpStream> {
        self.try_connect(host, name, alpn, rustls::ALL_VERSIONS).await.unwrap()
    }

    async fn try_connect(
        &self,
        host: &Host,
        name: &str,
        alpn: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(host.address).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
    }

    /// The certificate that a new connection is shown for a name.
    async fn shown(&self, host: &Host, name: &str) -> CertificateDer<'static> {
        certificate_of(&self.connect(host, name, &[]).await)
    }
}

fn certificate_of(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

fn files(folder: &Path, name: &str) -> CertificateFiles {
    CertificateFiles {
        certificate: folder.join(format!("{name}.crt")),
        key: folder.join(format!("{name}.key")),
    }
}

fn settings(certificates: Vec<CertificateFiles>) -> TlsSettings {
    TlsSettings {
        certificates,
        only_tls_1_3: false,
        handshake_timeout: Some(Duration::from_secs(10)),
    }
}

async fn serve(guest: &str, tls: Tls) -> Host {
    let options = Options { tls: Some(tls), ..Options::default() };
    Host::start_as(&engines(), [spec(guest)], options).await
}

/// Sends a `GET` on a connection that stays open, and reads until the answer has the text.
async fn get(stream: &mut TlsStream<TcpStream>, path: &str, until: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.contains(until) {
        let mut buffer = [0; 4096];
        let count = within(stream.read(&mut buffer)).await.unwrap();
        assert!(count > 0, "the connection ended after {answer}");
        answer.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    answer
}

#[tokio::test]
async fn a_client_gets_the_version_that_it_asks_for() {
    let mut certificates = Certificates::new();
    certificates.write("shop", &["shop.example"]);
    let host = serve("misbehave", certificates.load(&["shop"])).await;
    for alpn in [&["http/1.1"][..], &[]] {
        let mut stream = certificates.connect(&host, "shop.example", alpn).await;
        let answer = get(&mut stream, "/see", "x-request-id").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("GET https://shop.example/see\n"), "{answer}");
    }
    let stream = certificates.connect(&host, "shop.example", &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    let request = http::Request::get("https://shop.example/").body(()).unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    assert_eq!(within(response).await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_name_chooses_the_certificate_and_the_first_is_for_all_others() {
    let mut certificates = Certificates::new();
    let first = certificates.write("first", &["first.example", "else.example"]);
    let shop = certificates.write("shop", &["shop.example", "*.shop.example"]);
    let late = certificates.write("late", &["shop.example", "late.example"]);
    let host = serve("hello", certificates.load(&["first", "shop", "late"])).await;
    for (name, certificate) in [
        ("first.example", &first),
        ("shop.example", &shop),
        ("a.shop.example", &shop),
        ("else.example", &first),
        ("late.example", &late),
    ] {
        assert!(certificates.shown(&host, name).await == *certificate, "{name}");
    }
    // A wildcard stands for one label: the first certificate is shown, which is not for the name.
    let error =
        certificates.try_connect(&host, "a.b.shop.example", &[], rustls::ALL_VERSIONS).await;
    assert!(error.unwrap_err().to_string().contains("certificate"), "shown the wrong one");
}

/// Waits until new connections are shown a certificate.
async fn until_shown(
    certificates: &Certificates,
    host: &Host,
    certificate: &CertificateDer<'static>,
) {
    let shown = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while certificates.shown(host, "shop.example").await != *certificate {
            ticks.tick().await;
        }
    };
    within(shown).await;
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_shown_to_new_connections_while_old_ones_live_on() {
    let mut certificates = Certificates::new();
    let old = certificates.write("shop", &["shop.example"]);
    let tls = certificates.load(&["shop"]);
    let watch = tokio::spawn(tls.clone().watch());
    let host = serve("hello", tls).await;
    let mut stream = certificates.connect(&host, "shop.example", &[]).await;
    get(&mut stream, "/", "Backplane").await;
    assert!(certificate_of(&stream) == old);

    // As a client of ACME does: each file renamed over the one before.
    let new = certificates.write("next", &["shop.example"]);
    for ending in ["crt", "key"] {
        let (from, to) = (format!("next.{ending}"), format!("shop.{ending}"));
        fs::rename(certificates.path(&from), certificates.path(&to)).unwrap();
    }
    until_shown(&certificates, &host, &new).await;
    get(&mut stream, "/", "Backplane").await;
    watch.abort();
}

#[tokio::test]
async fn a_folder_that_is_swapped_by_a_link_is_noticed() {
    let mut certificates = Certificates::new();
    // As Kubernetes lays out a secret: files that are links into `..data`, itself one that is renamed.
    for version in ["v1", "v2"] {
        fs::create_dir(certificates.path(version)).unwrap();
    }
    let old = certificates.write("v1/shop", &["shop.example"]);
    let new = certificates.write("v2/shop", &["shop.example"]);
    symlink("v1", certificates.path("..data")).unwrap();
    for file in ["shop.crt", "shop.key"] {
        symlink(format!("..data/{file}"), certificates.path(file)).unwrap();
    }
    let tls = certificates.load(&["shop"]);
    let watch = tokio::spawn(tls.clone().watch());
    let host = serve("hello", tls).await;
    assert!(certificates.shown(&host, "shop.example").await == old);
    symlink("v2", certificates.path("..next")).unwrap();
    fs::rename(certificates.path("..next"), certificates.path("..data")).unwrap();
    until_shown(&certificates, &host, &new).await;
    watch.abort();
}

#[tokio::test]
async fn files_that_cannot_be_used_leave_the_certificate_and_are_logged_with_a_remedy() {
    let (log, _guard) = Log::capture();
    let mut certificates = Certificates::new();
    let old = certificates.write("shop", &["shop.example"]);
    let other = certificates.write("other", &["shop.example"]);
    let tls = certificates.load(&["shop"]);
    let watch = tokio::spawn(tls.clone().watch());
    let host = serve("hello", tls).await;
    let fails = async |what: &str| {
        within(log.until(&["ERROR", what])).await;
        assert!(certificates.shown(&host, "shop.example").await == old, "{what}");
    };
    let good = fs::read(certificates.path("shop.crt")).unwrap();
    fs::write(certificates.path("shop.crt"), "nonsense").unwrap();
    fails("holds no certificate").await;
    fs::remove_file(certificates.path("shop.crt")).unwrap();
    fails("failed to read").await;
    fs::copy(certificates.path("other.crt"), certificates.path("shop.crt")).unwrap();
    fails("is not of the certificate").await;
    // The key that belongs to it mends it.
    fs::copy(certificates.path("other.key"), certificates.path("shop.key")).unwrap();
    until_shown(&certificates, &host, &other).await;
    assert!(!good.is_empty());
    watch.abort();
}

#[tokio::test]
async fn what_cannot_be_used_at_start_is_an_error_with_its_file() {
    let mut certificates = Certificates::new();
    certificates.write("shop", &["shop.example"]);
    certificates.write("other", &["shop.example"]);
    let refused = |files: CertificateFiles, parts: &[&str]| {
        let error = Tls::load(settings(vec![files])).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "no `{part}` in {error}");
        }
    };
    let CertificateFiles { certificate, key } = certificates.files("shop");
    let none = certificates.path("none.pem");
    let files = |certificate: &Path, key: &Path| CertificateFiles {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    };
    refused(files(&none, &key), &["none.pem", "No such file", "http.tls.certificates"]);
    refused(files(&certificate, &none), &["none.pem", "No such file"]);
    refused(files(&key, &key), &["shop.key", "no certificate", "BEGIN CERTIFICATE"]);
    refused(files(&certificate, &certificate), &["shop.crt", "no private key", "PRIVATE KEY"]);
    let other = certificates.files("other").key;
    refused(files(&certificate, &other), &["other.key", "shop.crt", "belong together"]);
    let bad = certificates.path("bad.crt");
    fs::write(&bad, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    refused(files(&bad, &key), &["bad.crt", "cannot be used"]);
    let bad = certificates.path("bad.key");
    fs::write(&bad, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    refused(files(&certificate, &bad), &["bad.key", "without a password"]);
}

#[tokio::test]
async fn a_key_that_others_can_read_and_a_certificate_out_of_its_time_are_warned_about() {
    let (log, _guard) = Log::capture();
    let mut certificates = Certificates::new();
    certificates.write_with("old", &["shop.example"], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    certificates.write_with("early", &["shop.example"], |params| {
        params.not_before = rcgen::date_time_ymd(2200, 1, 1);
        params.not_after = rcgen::date_time_ymd(2201, 1, 1);
    });
    let key = certificates.path("old.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    certificates.load(&["old", "early"]);
    log.line(&["WARN", "old.key", "`chmod o= "]);
    log.line(&["WARN", "old.crt", "has expired", "days ago"]);
    log.line(&["WARN", "early.crt", "is valid only in"]);
    assert!(!log.text().contains("early.key"), "{}", log.text());
}

#[tokio::test]
async fn an_old_version_of_tls_is_refused_where_it_is_not_wanted() {
    let mut certificates = Certificates::new();
    certificates.write("shop", &["shop.example"]);
    let mut only_new = settings(vec![certificates.files("shop")]);
    only_new.only_tls_1_3 = true;
    let host = serve("hello", Tls::load(only_new).unwrap()).await;
    let old = [&rustls::version::TLS12];
    assert!(certificates.try_connect(&host, "shop.example", &[], &old).await.is_err());
    certificates.connect(&host, "shop.example", &[]).await;
    let host = serve("hello", certificates.load(&["shop"])).await;
    certificates.try_connect(&host, "shop.example", &[], &old).await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_shake_hands_is_cut_off() {
    let mut certificates = Certificates::new();
    certificates.write("shop", &["shop.example"]);
    let mut hasty = settings(vec![certificates.files("shop")]);
    hasty.handshake_timeout = Some(Duration::from_millis(200));
    let host = serve("hello", Tls::load(hasty).unwrap()).await;
    let mut silent = TcpStream::connect(host.address).await.unwrap();
    assert_eq!(within(silent.read(&mut [0; 1])).await.unwrap(), 0);
    // Nor is one that speaks without TLS answered as if it were safe.
    let answer = within(host.raw("GET / HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
    certificates.connect(&host, "shop.example", &[]).await;
}
