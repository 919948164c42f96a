//! Clients that do what they should not, over HTTP/1.1: each is cut off in its time, and others are
//! served meanwhile.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    answers::read_until,
    observed::Log,
    support::{Host, spec, within},
};

const SOON: Option<Duration> = Some(Duration::from_millis(300));

/// What is left to read of a connection that the server ends.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is an end as well.
    within(stream.read_to_end(&mut answer)).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    let host = Host::limited([spec("hello")], |settings| settings.head_timeout = SOON).await;
    for head in ["GET / HT", "PRI * HT", "G"] {
        let mut slow = host.send(head).await;
        assert_eq!(host.get("/").await.0, 200);
        assert_eq!(rest(&mut slow).await, "", "{head}");
    }
    // The second head of a connection as well as the first.
    let mut slow = host.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    within(read_until(&mut slow, &mut String::new(), "0\r\n\r\n")).await;
    slow.write_all(b"GET / HTTP/1.1\r\nho").await.unwrap();
    assert_eq!(rest(&mut slow).await, "");
}

#[tokio::test]
async fn a_head_byte_by_byte_does_not_get_more_time() {
    let host = Host::limited([spec("hello")], |settings| settings.head_timeout = SOON).await;
    let mut slow = host.send("GET / HTTP/1.1\r\n").await;
    let mut buffer = [0; 100];
    let dripping = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            slow.write_all(b"x").await?;
            if let Ok(0) = slow.try_read(&mut buffer) {
                return Ok::<_, std::io::Error>(());
            }
        }
    };
    within(dripping).await.ok();
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time_and_not_before() {
    let host = Host::limited([spec("hello")], |settings| {
        settings.idle_timeout = Some(Duration::from_millis(400));
        settings.head_timeout = Some(Duration::from_millis(100));
    })
    .await;
    let mut silent = TcpStream::connect(host.address).await.unwrap();
    let mut used = TcpStream::connect(host.address).await.unwrap();
    for _ in 0..4 {
        // A pause longer than a head may take, and shorter than a connection may idle.
        tokio::time::sleep(Duration::from_millis(150)).await;
        used.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        within(read_until(&mut used, &mut String::new(), "Backplane")).await;
    }
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(rest(&mut used).await.matches("HTTP/1.1").count(), 0);
}

#[tokio::test]
async fn a_body_that_stalls_is_answered_408() {
    for guest in ["misbehave", "hello-p3"] {
        let host = Host::limited([spec(guest)], |settings| settings.body_timeout = SOON).await;
        let mut slow = host
            .send("POST /count-body HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf")
            .await;
        let answer = rest(&mut slow).await;
        // The other guest does not read the body, and answers.
        let status = if guest == "misbehave" { "408" } else { "200" };
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        within(host.idle()).await;
    }
}

#[tokio::test]
async fn a_body_that_stalls_behind_the_responses_head_cuts_it_off() {
    for guest in ["hello", "hello-p3"] {
        let host = Host::limited([spec(guest)], |settings| settings.body_timeout = SOON).await;
        let mut slow = host
            .send(
                "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            )
            .await;
        let answer = rest(&mut slow).await;
        assert!(answer.contains("half") && !answer.ends_with("0\r\n\r\n"), "{guest}: {answer}");
        within(host.idle()).await;
    }
}

#[tokio::test]
async fn a_slow_body_that_comes_has_its_time() {
    let host = Host::limited([spec("misbehave")], |settings| settings.body_timeout = SOON).await;
    let mut slow =
        host.send("POST /count-body HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n").await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        slow.write_all(b"x").await.unwrap();
    }
    let mut seen = String::new();
    within(read_until(&mut slow, &mut seen, "5\n")).await;
    assert!(seen.starts_with("HTTP/1.1 200 "), "{seen}");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off() {
    let (log, _guard) = Log::capture();
    let mut spec = spec("misbehave");
    spec.limits.deadline = Some(Duration::from_secs(3600));
    let host = Host::limited([spec], |settings| settings.write_timeout = SOON).await;
    let _stuck = host.send("GET /stream?bytes=1000000000 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(host.get("/").await.0, 200);
    // It runs no more, though its time is not over and its client is there.
    within(host.idle()).await;
    log.until(&["access", "client too slow", "/stream"]).await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_all() {
    let host = Host::limited([spec("misbehave")], |settings| settings.write_timeout = SOON).await;
    let mut slow = host
        .send("GET /stream?bytes=20000000 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await;
    let mut buffer = vec![0; 2 << 20];
    let mut count = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(30)).await;
        match within(slow.read(&mut buffer)).await.unwrap() {
            0 => break,
            read => count += read,
        }
    }
    assert!(count > 20_000_000, "{count}");
}

#[tokio::test]
async fn a_client_that_leaves_within_its_body_ends_the_guest() {
    let mut spec = spec("misbehave");
    spec.limits.deadline = Some(Duration::from_secs(3600));
    let host = Host::limited([spec], |settings| settings.body_timeout = None).await;
    let gone =
        host.send("POST /count-body HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf").await;
    // An answer on the way says that the request before has been read.
    assert_eq!(host.get("/").await.0, 200);
    drop(gone);
    within(host.idle()).await;
}

#[tokio::test]
async fn a_refused_client_that_still_sends_gets_its_answer() {
    let mut spec = spec("hello");
    spec.limits.request_body = 1000;
    let host = Host::start([spec]).await;
    let size = 3_000_000;
    let head = format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n");
    let mut stream = host.send(&head).await;
    let (mut reader, mut writer) = stream.split();
    let body = vec![b'x'; size];
    let mut answer = Vec::new();
    let (sent, read) =
        within(async { tokio::join!(writer.write_all(&body), reader.read_to_end(&mut answer)) })
            .await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{sent:?} {read:?} {answer}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_431() {
    let host = Host::limited([spec("hello")], |settings| settings.head_size = 8 << 10).await;
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(9000));
    let answer = within(host.raw(&long)).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    for fields in [101, 130] {
        let many = "a: b\r\n".repeat(fields - 1);
        let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n");
        let answer = within(host.raw(&many)).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{fields}: {answer}");
    }
    let many =
        format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}\r\n", "a: b\r\n".repeat(98));
    let answer = within(host.raw(&many)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_guest_that_answers_twice_is_ended_and_its_client_has_the_first_answer_or_a_cut() {
    let host = Host::start([spec("misbehave")]).await;
    let answer =
        within(host.raw("GET /twice HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(!answer.contains("twice"), "{answer}");
    within(host.idle()).await;
    assert_eq!(host.get("/").await.0, 200);
}

#[tokio::test]
async fn beyond_the_connections_that_may_be_open_others_wait_for_one_to_close() {
    let host = Host::limited([spec("hello")], |settings| settings.connections = 2).await;
    let first = host.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut second = host.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    within(read_until(&mut second, &mut String::new(), "Backplane")).await;
    let mut third = host.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let early = tokio::time::timeout(Duration::from_millis(200), third.read(&mut [0; 1])).await;
    assert!(early.is_err(), "a third connection is served");
    drop(first);
    within(read_until(&mut third, &mut String::new(), "Backplane")).await;
}

#[tokio::test]
async fn a_client_is_asked_to_go_on_only_where_the_guest_reads() {
    let host = Host::start([spec("misbehave")]).await;
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n"
        )
    };
    let mut asked = host.send(&head("/count-body")).await;
    let mut seen = String::new();
    within(read_until(&mut asked, &mut seen, "\r\n\r\n")).await;
    assert!(seen.starts_with("HTTP/1.1 100 "), "{seen}");
    asked.write_all(b"body").await.unwrap();
    within(read_until(&mut asked, &mut seen, "4\n")).await;

    let mut not_asked = host.send(&head("/ignore-body")).await;
    let mut seen = String::new();
    within(read_until(&mut not_asked, &mut seen, "ok\n")).await;
    assert!(seen.starts_with("HTTP/1.1 200 "), "{seen}");
}

#[tokio::test]
async fn trailers_go_both_ways_over_http_1() {
    for (guest, path) in [("misbehave", "/trailers")] {
        let host = Host::start([spec(guest)]).await;
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nte: trailers\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n"
        );
        let answer = within(host.raw(&request)).await;
        assert!(answer.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{guest}: {answer}");
    }
}
