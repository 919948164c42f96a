//! The HTTP server: connections, routes, and how the end of a guest becomes a status.
//!
//! It knows workloads, and nothing of what runs inside them.

mod body;
mod record;
mod respond;
mod route;
mod server;
pub mod signal;

pub use route::{RouteError, Router, Routes};
pub use server::{BindError, Drained, Server};
