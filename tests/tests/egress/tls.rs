//! TLS of outbound requests: versions of HTTP, certificates, and whom the host trusts.

use backplane::workload::egress::{Egress, SystemResolver};

use crate::{
    server::{Authority, Server},
    support::{Dns, Host, Operator, http, spec, within},
};

/// An egress that trusts an authority.
pub(crate) fn egress(dns: &Dns, authority: &Authority) -> Egress {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.pem()).unwrap();
    Egress::new(dns.clone(), Some(file.path())).unwrap()
}

/// A host whose guest may reach `api.example` on the loopback address, and the URL of a server there.
async fn host(server: &Server, authority: &Authority) -> (Host, String) {
    let dns = Dns::new(&[("api.example", &["127.0.0.1"])]);
    let mut spec = spec("outbound");
    spec.network = http(&["https://api.example:*", "127.0.0.1"]);
    let host = Host::with(spec, egress(&dns, authority)).await;
    (host, format!("https://api.example:{}", server.port()))
}

#[test]
fn a_server_chooses_the_version_of_http() {
    Operator::watch(async |operator| {
        let authority = Authority::new();
        for (protocols, version) in
            [(&["h2", "http/1.1"][..], "HTTP/2.0"), (&["http/1.1"], "HTTP/1.1"), (&[], "HTTP/1.1")]
        {
            let tls = authority.tls(&["api.example"], protocols);
            let server = Server::with("127.0.0.1:0", Some(tls)).await;
            let (host, url) = host(&server, &authority).await;
            let text = host.fetched(&format!("{url}/x?y")).await;
            let (first, headers) = text.split_once('\n').unwrap();
            match version {
                "HTTP/2.0" => {
                    assert_eq!(first, format!("{version} GET {url}/x?y on 1"));
                    assert_eq!(headers, "", "there is nothing but the request");
                }
                _ => {
                    assert_eq!(first, format!("{version} GET /x?y on 1"));
                    let authority = url.trim_start_matches("https://");
                    assert!(headers.contains(&format!("host: {authority}\n")), "{headers}");
                }
            }
        }
        assert_eq!(operator.outcome("answered"), 3);
    });
}

#[test]
fn requests_share_a_connection_of_http_2() {
    Operator::watch(async |operator| {
        let authority = Authority::new();
        let tls = authority.tls(&["api.example"], &["h2"]);
        let server = Server::with("127.0.0.1:0", Some(tls)).await;
        let (host, url) = host(&server, &authority).await;
        host.fetched(&format!("{url}/")).await;
        let held: Vec<_> =
            (0..5).map(|_| tokio::spawn(host.fetched(&format!("{url}/hold")))).collect();
        within(server.has_seen(6)).await;
        server.release();
        for held in held {
            assert!(within(held).await.unwrap().contains(" on 1\n"));
        }
        assert_eq!((server.connections(), operator.connections()), (1, 1));
        let large = "x".repeat(1_000_000);
        let (_, text) = host.ask("POST", &format!("/?url={url}/post"), large.clone()).await;
        assert!(text.ends_with(&large), "the body came back changed");
        assert_eq!(server.connections(), 1);
    });
}

#[test]
fn a_certificate_must_be_for_the_name_and_from_a_trusted_authority() {
    Operator::watch(async |operator| {
        let (authority, stranger) = (Authority::new(), Authority::new());
        for (tls, what) in [
            (authority.tls(&["other.example"], &["h2"]), "another name"),
            (stranger.tls(&["api.example"], &["h2"]), "an unknown authority"),
        ] {
            let server = Server::with("127.0.0.1:0", Some(tls)).await;
            let (host, url) = host(&server, &authority).await;
            let (status, text) = host.fetch(&format!("{url}/")).await;
            assert_eq!(status, 502, "{what}");
            assert!(text.contains("TlsCertificateError"), "{what}: {text}");
        }
        // By address, the certificate must have the address.
        let tls = authority.tls(&["127.0.0.1"], &["h2"]);
        let server = Server::with("127.0.0.1:0", Some(tls)).await;
        let (host, _) = host(&server, &authority).await;
        host.fetched(&format!("https://{}/", server.address)).await;
        // What is no TLS.
        let plain = Server::start("127.0.0.1:0").await;
        let (_, text) = host.fetch(&format!("https://{}/", plain.address)).await;
        assert!(text.contains("TlsProtocolError"), "{text}");
        assert_eq!((operator.outcome("failed"), operator.outcome("answered")), (3, 1));
    });
}

#[test]
fn a_file_of_authorities_that_is_none_is_refused_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, content: Option<&str>| {
        let path = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        Egress::new(SystemResolver, Some(&path)).unwrap_err().to_string()
    };
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, content, part) in [
        ("missing.pem", None, "failed to read"),
        ("empty.pem", Some(""), "failed to find a certificate"),
        ("broken.pem", Some(broken), "failed to use a certificate"),
    ] {
        let report = refused(name, content);
        for part in [part, name, "`outbound.ca-file`", "expected"] {
            assert!(report.contains(part), "{name}: no `{part}` in: {report}");
        }
    }
}
