//! The part of the configuration that says how HTTP is served.

use std::{net::SocketAddr, ops::RangeInclusive};

use super::{
    Http, Tls, file,
    origin::KeyPath,
    resolve::Resolver,
    value::{List, Typed},
    written::Size,
};
use crate::{
    http::{CertificateFiles, Http2, Settings, TlsSettings},
    report::Report,
};

/// What a size may be, and how that is worded.
struct Range(RangeInclusive<u64>, &'static str);

const HEAD: Range = Range(1 << 10..=256 << 10, "a size from \"1KiB\" to \"256KiB\"");
/// Below 64 KiB less one, a window of HTTP/2 cannot begin; at 2 GiB it ends (RFC 9113, section 6.9.2).
const WINDOW: Range = Range(64 << 10..=1 << 30, "a size from \"64KiB\" to \"1GiB\"");

impl Resolver<'_> {
    pub(super) fn http(&mut self, written: file::Http) -> Http {
        let key = KeyPath::new(["http"]);
        let head_size = self.size(&key.child("head-size"), written.head_size, &HEAD);
        let settings = Settings {
            connections: written.connections.size(),
            head_size: usize::try_from(head_size).unwrap_or(usize::MAX),
            head_fields: written.head_fields.size(),
            head_timeout: written.head_timeout.0.0,
            idle_timeout: written.idle_timeout.0.0,
            body_timeout: written.body_timeout.0.0,
            write_timeout: written.write_timeout.0.0,
            http2: self.http2(&key.child("http2"), &written.http2),
        };
        let listen = addresses(written.listen);
        let tls = self.tls(&key.child("tls"), written.tls);
        if listen.is_empty() && tls.is_none() {
            let report = Report::bad_input("`http.listen` is empty");
            let report = report.expected("an address, here or in `http.tls.listen`");
            self.problems.add(&key.child("listen"), report);
        }
        Http { listen, tls, settings }
    }

    fn http2(&mut self, key: &KeyPath, written: &file::Http2) -> Http2 {
        let mut window = |name: &str, size| {
            let size = self.size(&key.child(name), size, &WINDOW);
            u32::try_from(size).unwrap_or(u32::MAX)
        };
        Http2 {
            stream_window: window("stream-window", written.stream_window),
            connection_window: window("connection-window", written.connection_window),
            streams: written.streams.0.get(),
            resets: written.resets.size(),
            ping: written.ping.0.0,
        }
    }

    fn tls(&mut self, key: &KeyPath, written: file::Tls) -> Option<Tls> {
        let listen = addresses(written.listen);
        let mut certificates = Vec::new();
        for (index, files) in written.certificates.0.into_iter().enumerate() {
            let key = key.child("certificates").child(index);
            certificates.push(CertificateFiles {
                certificate: self.path(&key.child("certificate"), Some(&files.certificate)),
                key: self.path(&key.child("key"), Some(&files.key)),
            });
        }
        match (listen.is_empty(), certificates.is_empty()) {
            (true, true) => return None,
            (true, false) => {
                let report = Report::bad_input("`http.tls` has certificates and no `listen`");
                let report = report.expected("an address, such as `listen = \"0.0.0.0:443\"`");
                self.problems.add(&key.child("certificates"), report);
            }
            (false, true) => {
                let report = Report::bad_input("`http.tls` has no `certificates`");
                let expected = "a table `[[http.tls.certificates]]` with `certificate` and `key`";
                self.problems.add(&key.child("listen"), report.expected(expected));
            }
            (false, false) => {}
        }
        let settings = TlsSettings {
            certificates,
            only_tls_1_3: written.min_version == file::TlsVersion::Tls13,
            handshake_timeout: written.handshake_timeout.0.0,
        };
        Some(Tls { listen, settings })
    }

    /// A size in its range, in bytes.
    fn size(&mut self, key: &KeyPath, Typed(Size(bytes)): Typed<Size>, range: &Range) -> u64 {
        if !range.0.contains(&bytes) {
            let report = Report::bad_input(format_args!("`{key}` cannot be had"));
            self.problems.add(key, report.expected(range.1));
        }
        bytes
    }
}

fn addresses(written: List<Typed<SocketAddr>>) -> Vec<SocketAddr> {
    written.0.into_iter().map(|Typed(address)| address).collect()
}
