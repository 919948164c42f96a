//! HTTP/2, without TLS, as a client that knows of it speaks it.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{self, ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, Response, Version};
use tokio::net::TcpStream;

use crate::{
    observed::Log,
    support::{Host, spec, within},
};

/// A connection; who drops the client closes it.
async fn connect(host: &Host) -> SendRequest<Bytes> {
    connect_with(host, &mut client::Builder::new()).await
}

async fn connect_with(host: &Host, builder: &mut client::Builder) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(host.address).await.unwrap();
    let (client, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    client
}

async fn send(
    client: &SendRequest<Bytes>,
    method: &str,
    path: &str,
    is_whole: bool,
) -> (ResponseFuture, SendStream<Bytes>) {
    let request =
        Request::builder().method(method).uri(format!("http://x{path}")).body(()).unwrap();
    let mut client = within(client.clone().ready()).await.unwrap();
    client.send_request(request, is_whole).unwrap()
}

/// The rest of a body, and its trailers.
async fn read(body: &mut RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut bytes = Vec::new();
    while let Some(data) = within(body.data()).await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend(data);
    }
    (bytes, within(body.trailers()).await.unwrap())
}

async fn get(client: &SendRequest<Bytes>, path: &str) -> (u16, String) {
    let (response, _) = send(client, "GET", path, true).await;
    let response = within(response).await.unwrap();
    let status = response.status().as_u16();
    let (body, _) = read(&mut response.into_body()).await;
    (status, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn a_client_that_begins_with_http_2_is_answered_in_it() {
    let host = Host::start([spec("hello")]).await;
    let client = connect(&host).await;
    let (response, _) = send(&client, "GET", "/", true).await;
    let response: Response<_> = within(response).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
    assert_eq!(read(&mut response.into_body()).await.0, b"Hello from Backplane\n");
    // The same address speaks HTTP/1.1 to others.
    assert_eq!(host.get("/").await.0, 200);
}

#[tokio::test]
async fn a_request_for_the_head_gets_no_more() {
    let host = Host::start([spec("misbehave")]).await;
    let client = connect(&host).await;
    // The guest's response, and the host's own.
    for (path, status) in [("/stream?bytes=100000", 200), ("/trap", 500)] {
        let (response, _) = send(&client, "HEAD", path, true).await;
        let response = within(response).await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert!(response.body().is_end_stream(), "{path}");
    }
    within(host.idle()).await;
    assert_eq!(get(&client, "/").await.0, 200);
}

#[tokio::test]
async fn requests_of_one_connection_run_side_by_side() {
    let host = Host::start([spec("misbehave")]).await;
    let client = connect(&host).await;
    let (slow, _) = send(&client, "GET", "/hang", true).await;
    for _ in 0..3 {
        assert_eq!(get(&client, "/").await, (200, "ok\n".to_owned()));
    }
    drop(slow);
}

/// A body goes in and out as it is written, and its trailers come last.
async fn echoes(guest: &str) {
    let host = Host::start([spec(guest)]).await;
    let client = connect(&host).await;
    let (response, mut body) = send(&client, "POST", "/echo", false).await;
    body.send_data(Bytes::from_static(b"first"), false).unwrap();
    let mut echoed = within(response).await.unwrap().into_body();
    assert_eq!(within(echoed.data()).await.unwrap().unwrap(), "first");
    body.send_data(Bytes::from_static(b"second"), false).unwrap();
    assert_eq!(within(echoed.data()).await.unwrap().unwrap(), "second");
    body.send_data(Bytes::new(), true).unwrap();
    assert!(read(&mut echoed).await.0.is_empty());
    within(host.idle()).await;
}

#[tokio::test]
async fn a_body_streams_both_ways_through_wasi_0_2() {
    echoes("hello").await;
}

#[tokio::test]
async fn a_body_streams_both_ways_through_wasi_0_3() {
    echoes("hello-p3").await;
}

async fn sends_trailers_back(guest: &str, path: &str) {
    let host = Host::start([spec(guest)]).await;
    let client = connect(&host).await;
    let (response, mut body) = send(&client, "POST", path, false).await;
    body.send_data(Bytes::from_static(b"body"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    body.send_trailers(trailers.clone()).unwrap();
    let (_, received) = read(&mut within(response).await.unwrap().into_body()).await;
    assert_eq!(received, Some(trailers));
    within(host.idle()).await;
}

#[tokio::test]
async fn trailers_go_both_ways_through_wasi_0_2() {
    sends_trailers_back("misbehave", "/trailers").await;
}

#[tokio::test]
async fn trailers_go_both_ways_through_wasi_0_3() {
    sends_trailers_back("hello-p3", "/echo").await;
}

#[tokio::test]
async fn a_large_body_comes_back_whole() {
    for guest in ["hello", "hello-p3"] {
        let host = Host::start([spec(guest)]).await;
        let client = connect(&host).await;
        let (response, mut body) = send(&client, "POST", "/echo", false).await;
        let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let whole = Bytes::from(sent.clone());
        let sending = async move {
            let mut left = whole;
            while !left.is_empty() {
                body.reserve_capacity(left.len());
                let room = poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap();
                let piece = left.split_to(room.min(left.len()));
                body.send_data(piece, left.is_empty()).unwrap();
            }
        };
        let receiving = async { read(&mut within(response).await.unwrap().into_body()).await.0 };
        let ((), received) = within(async { tokio::join!(sending, receiving) }).await;
        assert!(received == sent, "{guest}: the body came back changed");
    }
}

#[tokio::test]
async fn a_client_that_resets_a_stream_ends_its_guest() {
    let mut spec = spec("misbehave");
    spec.limits.deadline = Some(Duration::from_secs(3600));
    let host = Host::start([spec]).await;
    let client = connect(&host).await;
    // Before a response, within one, and within the request's body.
    for (path, is_whole) in
        [("/hang", true), ("/stream?bytes=1000000000", true), ("/count-body", false)]
    {
        let (response, mut body) = send(&client, "POST", path, is_whole).await;
        if path.starts_with("/stream") {
            let response = within(response).await.unwrap();
            assert!(within(response.into_body().data()).await.is_some());
        } else if !is_whole {
            body.send_data(Bytes::from_static(b"begun"), false).unwrap();
            // The next answer says that the stream before has begun.
            assert_eq!(get(&client, "/").await.0, 200);
        } else {
            assert_eq!(get(&client, "/").await.0, 200);
        }
        body.send_reset(Reason::CANCEL);
        within(host.idle()).await;
    }
    // The connection goes on.
    assert_eq!(get(&client, "/").await.0, 200);
}

#[tokio::test]
async fn a_client_that_leaves_ends_all_its_guests() {
    let mut spec = spec("misbehave");
    spec.limits.deadline = Some(Duration::from_secs(3600));
    let host = Host::start([spec]).await;
    let stream = TcpStream::connect(host.address).await.unwrap();
    let (client, connection) = client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let hanging = send(&client, "GET", "/hang", true).await;
    let (streaming, _) = send(&client, "GET", "/stream?bytes=1000000000", true).await;
    let body = within(streaming).await.unwrap();
    connection.abort();
    within(host.idle()).await;
    drop((hanging, body));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_the_connection_goes_on() {
    let mut spec = spec("misbehave");
    spec.limits.request_body = 1000;
    let host = Host::start([spec]).await;
    let client = connect(&host).await;
    let (response, mut body) = send(&client, "POST", "/count-body", false).await;
    body.send_data(vec![b'x'; 2000].into(), false).unwrap();
    assert_eq!(within(response).await.unwrap().status(), 413);
    let request = Request::post("http://x/count-body").header("content-length", "1001").body(());
    let mut ready = within(client.clone().ready()).await.unwrap();
    let (response, _body) = ready.send_request(request.unwrap(), false).unwrap();
    assert_eq!(within(response).await.unwrap().status(), 413);
    assert_eq!(get(&client, "/").await.0, 200);
}

#[tokio::test]
async fn a_stream_whose_client_takes_nothing_is_reset_while_others_go_on() {
    let (log, _guard) = Log::capture();
    let host = Host::limited([spec("misbehave")], |settings| {
        settings.write_timeout = Some(Duration::from_millis(300));
    })
    .await;
    // No window but what is opened for each stream.
    let client = connect_with(&host, client::Builder::new().initial_window_size(10_000)).await;
    let (response, _) = send(&client, "GET", "/stream?bytes=1000000000", true).await;
    let mut stuck = within(response).await.unwrap().into_body();
    let reset = async {
        loop {
            // What is read is not given back, so that the window stays shut.
            match stuck.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("the body ended as if complete"),
            }
        }
    };
    let error = within(reset).await;
    assert!(error.is_reset(), "{error}");
    log.until(&["access", "client too slow", "/stream"]).await;
    assert_eq!(get(&client, "/").await.0, 200);
    within(host.idle()).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let host = Host::limited([spec("hello")], |settings| settings.head_size = 8 << 10).await;
    let client = connect(&host).await;
    let mut request = Request::get("http://x/").body(()).unwrap();
    for n in 0..5 {
        let name: http::HeaderName = format!("x-{n}").parse().unwrap();
        request.headers_mut().insert(name, "x".repeat(2000).parse().unwrap());
    }
    let mut ready = within(client.clone().ready()).await.unwrap();
    let (response, _) = ready.send_request(request, true).unwrap();
    assert_eq!(within(response).await.unwrap().status(), 431);
    let mut request = Request::get("http://x/").body(()).unwrap();
    for n in 0..101 {
        let name: http::HeaderName = format!("x-{n}").parse().unwrap();
        request.headers_mut().insert(name, "x".parse().unwrap());
    }
    let (response, _) = ready.send_request(request, true).unwrap();
    assert_eq!(within(response).await.unwrap().status(), 431);
    assert_eq!(get(&client, "/").await.0, 200);
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_after_its_time() {
    let host = Host::limited([spec("hello")], |settings| {
        settings.idle_timeout = Some(Duration::from_millis(200));
    })
    .await;
    let stream = TcpStream::connect(host.address).await.unwrap();
    let (client, connection) = client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    assert_eq!(get(&client, "/").await.0, 200);
    // With a goodbye, so that no request of the client's is lost.
    within(connection).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_stops_finishes_what_runs_and_takes_no_more() {
    let mut host = Host::start([spec("misbehave")]).await;
    let stream = TcpStream::connect(host.address).await.unwrap();
    let (client, connection) = client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let (response, _) = send(&client, "GET", "/timer?ms=500", true).await;
    assert_eq!(get(&client, "/").await.0, 200);
    host.ask_to_stop();
    let (body, _) = read(&mut within(response).await.unwrap().into_body()).await;
    assert_eq!(body, b"waited 500 ms\n");
    within(connection).await.unwrap().unwrap();
    assert_eq!(within(host.served()).await.cut, 0);
}
