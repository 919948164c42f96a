//! The HTTP server: connections, routes, and how the end of a guest becomes a status.
//!
//! It knows workloads, and nothing of what runs inside them.

mod accept;
mod activity;
mod body;
mod certificate;
mod connection;
mod io;
mod record;
mod reload;
mod respond;
mod route;
mod server;
mod serving;
mod settings;
pub mod signal;
mod streams;
mod tls;

pub use reload::Tls;
pub use route::{RouteError, Router, Routes};
pub use server::{BindError, Drained, Server};
pub use serving::Serving;
pub use settings::{Http2, Settings};
pub use tls::{CertificateFiles, TlsError, TlsSettings};
