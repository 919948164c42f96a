//! Peers that do what no server should: each is an error of its own, and nothing is called twice.

use std::time::Duration;

use backplane::{
    boundary::call::{Failure, FailureKind},
    provider::remote::ServerLimits,
};
use backplane_abi::CallContext;
use backplane_tests::within;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::support::{ADD, Bound, DOUBLE, FORGET, bound};

/// A peer on a free port.
struct Peer {
    listener: TcpListener,
    address: String,
}

impl Peer {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        Self { listener, address }
    }

    async fn bound(&self, limits: ServerLimits) -> Bound {
        bound(&self.address, limits).await
    }

    /// Takes a connection, and what is sent on it.
    async fn take(&self) -> (TcpStream, Vec<u8>) {
        let (mut stream, _) = within("a connection", self.listener.accept()).await.unwrap();
        let mut request = Vec::new();
        within("a request", stream.read_to_end(&mut request)).await.unwrap();
        (stream, request)
    }

    /// What a call of `add` comes to that is answered with these bytes and the end.
    async fn answers(&self, server: &Bound, bytes: &[u8]) -> Result<u32, Failure> {
        let answer = async {
            let (mut stream, _) = self.take().await;
            // The host may have left before it is all written.
            stream.write_all(bytes).await.ok();
        };
        tokio::join!(server.call(ADD, (40_u32, 2_u32)), answer).0
    }

    /// Nobody has connected that was not taken.
    async fn is_alone(&self) {
        let more = tokio::time::timeout(Duration::from_millis(50), self.listener.accept()).await;
        assert!(more.is_err(), "a call was sent again");
    }
}

fn small() -> ServerLimits {
    ServerLimits { answer_size: 100, deadline: Duration::from_secs(20), ..ServerLimits::default() }
}

#[tokio::test]
async fn a_call_is_a_header_and_a_frame() {
    let peer = Peer::new().await;
    let server = peer.bound(small()).await;
    let answer = async {
        let (mut stream, request) = peer.take().await;
        assert_eq!(request, b"\0\x14acme:math/sums@1.0.0\x03add\0\x03\xac\x02\x02");
        stream.write_all(b"\0\x01\xae\0\x01\x02").await.unwrap();
    };
    let (result, ()) = tokio::join!(server.call::<_, u32>(ADD, (300_u32, 2_u32)), answer);
    assert_eq!(result, Ok(302));
}

#[tokio::test]
async fn each_wrong_answer_is_an_error_of_its_own_and_nothing_is_sent_again() {
    use FailureKind::{BadAnswer, Unavailable};
    let peer = Peer::new().await;
    let server = peer.bound(small()).await;
    for (bytes, kind, part) in [
        (
            b"".as_slice(),
            Unavailable,
            "without an answer: it does not have the function, or failed",
        ),
        (b"\0", Unavailable, "was lost"),
        (b"\0\x05\x01", Unavailable, "was lost"),
        (b"\0\x80", Unavailable, "was lost"),
        (b"\0\0", BadAnswer, "what the function does not return"),
        (b"\0\x02\x2a\x2a", BadAnswer, "1 bytes follow the value"),
        (b"\0\x06\xff\xff\xff\xff\xff\x01", BadAnswer, "more bits than its type"),
        (b"\x01\0\x01\x2a", BadAnswer, "a frame for a stream"),
        (b"\xff\xff\xff\xff\xff\xff\xff", BadAnswer, "more than 32 bits"),
        (b"\0\xff\xff\xff\xff\x0f", BadAnswer, "more than 100 bytes"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", BadAnswer, "expected wRPC"),
    ] {
        let failure = peer.answers(&server, bytes).await.unwrap_err();
        println!("{bytes:?}: {failure}");
        assert_eq!(failure.kind, kind, "{bytes:?}: {failure}");
        assert!(failure.message.contains(part), "{bytes:?}: {failure}");
    }
    peer.is_alone().await;
}

#[tokio::test]
async fn an_endless_answer_is_cut_at_its_limit() {
    let peer = Peer::new().await;
    let server = peer.bound(small()).await;
    let endless = async {
        let (mut stream, _) = peer.take().await;
        while stream.write_all(b"\0\x01\x2a").await.is_ok() {}
    };
    let (result, ()) = tokio::join!(server.call::<_, u32>(ADD, (1_u32, 2_u32)), endless);
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::BadAnswer);
    assert!(failure.message.contains("`answer-size`"), "{failure}");
}

#[tokio::test]
async fn a_function_without_results_is_done_only_when_its_server_says_so() {
    let peer = Peer::new().await;
    let server = peer.bound(small()).await;
    let confirm = async { peer.take().await.0.write_all(b"\0\0").await.unwrap() };
    let (result, ()) = tokio::join!(server.call::<_, ()>(FORGET, ("x",)), confirm);
    assert_eq!(result, Ok(()));
    let close = async { drop(peer.take().await) };
    let (result, ()) = tokio::join!(server.call::<_, ()>(FORGET, ("x",)), close);
    assert_eq!(result.unwrap_err().kind, FailureKind::BadAnswer);
}

#[tokio::test]
async fn a_server_that_says_nothing_meets_the_deadline_of_the_server_or_the_request() {
    let peer = Peer::new().await;
    let deadline = Duration::from_millis(50);
    let server = peer.bound(ServerLimits { deadline, ..small() }).await;
    let (failure, _held) = tokio::join!(server.call::<_, u32>(ADD, (1_u32, 2_u32)), peer.take());
    let failure = failure.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Deadline);
    assert!(failure.message.contains("50ms (`deadline`); it may have run"), "{failure}");

    let server = peer.bound(small()).await;
    // Long past: the clock began at the machine's start.
    let context = CallContext { deadline: 1, ..CallContext::default() };
    let call = server.begin(ADD, &(1_u32, 2_u32), &context);
    let failure = within("a call", call).await.err().unwrap();
    assert_eq!(failure.kind, FailureKind::Deadline, "{failure}");
    peer.is_alone().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_closes_its_connection() {
    let peer = Peer::new().await;
    let server = peer.bound(small()).await;
    let call = server.begin(ADD, &(1_u32, 2_u32), &CallContext::default());
    let call = tokio::spawn(call);
    let (mut stream, _) = peer.take().await;
    call.abort();
    let closed = async { while stream.write_all(b"\0\x01\x2a").await.is_ok() {} };
    within("the connection's end", closed).await;
}

#[tokio::test]
async fn a_slow_reader_meets_the_deadline() {
    let peer = Peer::new().await;
    let deadline = Duration::from_millis(200);
    let server = peer.bound(ServerLimits { deadline, ..small() }).await;
    // More than the sockets hold, which nobody reads.
    let numbers = vec![u32::MAX; 4 << 20];
    let failure = server.call::<_, Vec<u32>>(DOUBLE, (numbers,)).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Deadline, "{failure}");
}

#[tokio::test]
async fn calls_beyond_concurrency_wait_and_beyond_the_queue_fail() {
    let peer = Peer::new().await;
    let server = peer.bound(ServerLimits { concurrency: 1, queue: 1, ..small() }).await;
    let first = tokio::spawn(server.begin(ADD, &(1_u32, 2_u32), &CallContext::default()));
    let (mut stream, _) = peer.take().await;
    let mut second = Box::pin(server.begin(ADD, &(1_u32, 2_u32), &CallContext::default()));
    assert!(futures::poll!(&mut second).is_pending());
    let third = server.begin(ADD, &(1_u32, 2_u32), &CallContext::default());
    let failure = within("a refusal", third).await.err().unwrap();
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert!(failure.message.contains("1 calls run and 1 wait already"), "{failure}");
    peer.is_alone().await;
    stream.write_all(b"\0\x01\x03").await.unwrap();
    drop(stream);
    assert_eq!(&*within("the first", first).await.unwrap().unwrap(), [3, 0, 0, 0]);
    let answer = async { peer.take().await.0.write_all(b"\0\x01\x04").await.unwrap() };
    let (second, ()) = tokio::join!(within("the second", second), answer);
    assert_eq!(&*second.unwrap(), [4, 0, 0, 0]);
}

#[tokio::test]
async fn a_server_that_is_not_there_was_not_called() {
    let address = Peer::new().await.address;
    let server = bound(&address, small()).await;
    let failure = server.call::<_, u32>(ADD, (1_u32, 2_u32)).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert!(failure.message.contains("cannot be reached"), "{failure}");
    assert!(failure.message.contains("it was not sent"), "{failure}");
}
