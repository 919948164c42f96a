//! How many requests and connections a workload may have at once.

use std::time::Duration;

use backplane::workload::spec::Outbound;

use crate::{
    server::Server,
    support::{Dns, Host, Operator, http, within},
};

async fn host(outbound: Outbound) -> Host {
    let mut network = http(&["127.0.0.1"]);
    network.outbound = outbound;
    Host::outbound(network, &Dns::default()).await
}

#[test]
fn more_requests_than_a_workload_may_have_are_refused_at_once() {
    Operator::watch(async |operator| {
        let server = Server::start("127.0.0.1:0").await;
        let host = host(Outbound { requests: 2, ..Outbound::default() }).await;
        let held: Vec<_> =
            (0..2).map(|_| tokio::spawn(host.fetched(&server.url("/hold")))).collect();
        within(server.has_seen(2)).await;
        let (status, text) = host.fetch(&server.url("/")).await;
        assert_eq!(status, 502);
        assert!(text.contains("ConnectionLimitReached"), "{text}");
        assert_eq!(operator.outcome("limited"), 1);
        server.release();
        for held in held {
            within(held).await.unwrap();
        }
        host.fetched(&server.url("/")).await;
    });
}

#[test]
fn a_request_waits_for_a_connection_and_not_for_ever() {
    Operator::watch(async |operator| {
        let server = Server::start("127.0.0.1:0").await;
        let host = host(Outbound { connections: 1, ..Outbound::default() }).await;
        let held = tokio::spawn(host.fetched(&server.url("/hold")));
        within(server.has_seen(1)).await;
        let path = format!("/?connect=50&url={}", server.url("/"));
        let (_, text) = host.get(&path).await;
        assert!(text.contains("ConnectionLimitReached"), "{text}");

        let waiting = tokio::spawn(host.fetched(&server.url("/next")));
        server.release();
        within(held).await.unwrap();
        assert!(within(waiting).await.unwrap().contains("/next on 1\n"));
        assert_eq!((server.connections(), operator.connections()), (1, 1));
    });
}

#[test]
fn an_idle_connection_makes_room_for_one_to_another_server() {
    Operator::watch(async |_| {
        let (one, other) = (Server::start("127.0.0.1:0").await, Server::start("127.0.0.1:0").await);
        let outbound = Outbound {
            connections: 1,
            connect_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(3600),
            ..Outbound::default()
        };
        let host = host(outbound).await;
        for _ in 0..3 {
            host.fetched(&one.url("/")).await;
            host.fetched(&other.url("/")).await;
        }
        assert_eq!((one.connections(), other.connections()), (3, 3));
        within(one.has_open(0)).await;
    });
}
