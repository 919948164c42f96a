//! What a guest sees and reaches: nothing by default, and what its workload is granted.

use crate::support::{Host, spec, within};

#[tokio::test]
async fn the_environment_is_what_the_workload_says_and_not_the_hosts() {
    let mut open = spec("misbehave");
    open.environment = [("GREETING".to_owned(), "hi".to_owned())].into();
    let host = Host::start([open]).await;
    assert_eq!(host.get("/environment").await, (200, "GREETING=hi\n".to_owned()));
    let host = Host::start([spec("misbehave")]).await;
    assert_eq!(host.get("/environment").await, (200, String::new()));
}

#[tokio::test]
async fn the_config_store_answers_what_the_workload_says() {
    let mut configured = spec("misbehave");
    configured.config = [("a", "1"), ("b", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let host = Host::start([configured]).await;
    assert_eq!(host.get("/config").await, (200, "a=1\nb=2\n".to_owned()));
    assert_eq!(host.get("/config?key=b").await, (200, "2\n".to_owned()));
    assert_eq!(host.get("/config?key=c").await, (200, "none\n".to_owned()));
}

#[tokio::test]
async fn outbound_requests_go_where_they_are_granted_and_nowhere_else() {
    let server = Host::start([spec("hello")]).await;
    let mut granted = spec("outbound");
    granted.network.http = vec![server.address.to_string().parse().unwrap()];
    let host = Host::start([granted]).await;
    let url = server.url("/");
    let (status, body) = within(host.get(&format!("/?url={url}"))).await;
    assert_eq!((status, body.as_str()), (200, "200\nHello from Backplane\n"));

    let other = format!("/?url=http://127.0.0.1:{}/", server.address.port() ^ 1);
    let (status, body) = within(host.get(&other)).await;
    assert_eq!(status, 502);
    assert!(body.contains("HttpRequestDenied"), "{body}");

    let host = Host::start([spec("outbound")]).await;
    let (status, body) = within(host.get(&format!("/?url={url}"))).await;
    assert_eq!(status, 502);
    assert!(body.contains("HttpRequestDenied"), "{body}");
}

#[tokio::test]
async fn a_body_goes_out_and_comes_back_through_outbound_requests() {
    let server = Host::start([spec("hello")]).await;
    let mut granted = spec("outbound");
    granted.network.http = vec!["127.0.0.1".parse().unwrap()];
    let host = Host::start([granted]).await;
    let path = format!("/?url={}", server.url("/echo"));
    let body = "x".repeat(1_000_000);
    let response = within(host.request("POST", &path).body(body.clone()).send()).await.unwrap();
    assert!(response.text().await.unwrap() == format!("200\n{body}"), "the body came back changed");
}
