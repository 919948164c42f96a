//! A plain hyper server that answers `/bytes/N` with N bytes: what a request costs at the least.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use clap::Args;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
};

static BYTES: [u8; 1 << 20] = [0; 1 << 20];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where it listens
    address: SocketAddr,
}

/// Serves until it is killed, on one thread.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(arguments.address).await;
        let listener =
            listener.with_context(|| format!("cannot listen on {}", arguments.address))?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream));
        }
    })
}

async fn serve(stream: TcpStream) {
    stream.set_nodelay(true).ok();
    let connection =
        http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    // The client goes when it is done.
    connection.await.ok();
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let bytes = request.uri().path().strip_prefix("/bytes/").and_then(|bytes| bytes.parse().ok());
    let body = bytes.and_then(|bytes: usize| BYTES.get(..bytes));
    let mut response = Response::new(Full::new(Bytes::from_static(body.unwrap_or_default())));
    if body.is_none() {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    Ok(response)
}
