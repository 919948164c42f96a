//! The program itself: what its environment may not do, and what it says when it trusts nobody.

use backplane_tests::Lab;

use crate::{server::Server, support::within};

const CONFIG: &str = r#"
[http]
listen = "127.0.0.1:0"

[workloads.shop]
component = "COMPONENT"
http = {}
network = { http = ["127.0.0.1"] }
"#;

fn lab() -> Lab {
    let component = backplane_tests::component("outbound");
    Lab::new().with_config(&CONFIG.replace("COMPONENT", &component.to_string_lossy()))
}

#[tokio::test]
async fn a_proxy_and_credentials_of_the_hosts_environment_are_not_the_guests() {
    let server = Server::start("127.0.0.1:0").await;
    let proxy = Server::start("127.0.0.1:0").await;
    let mut lab = lab();
    let home = lab.path("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join(".netrc"), "machine 127.0.0.1 login user password hunter2\n").unwrap();
    lab = lab.with_variable("HOME", &home.to_string_lossy());
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"] {
        lab = lab.with_variable(name, &proxy.url(""));
    }
    let host = lab.start(["host"]).await;
    let (status, text) = host.get(&format!("/?url={}", server.url("/x"))).await;
    assert_eq!(status, 200);
    assert!(text.starts_with("200\nHTTP/1.1 GET /x on 1\n"), "{text}");
    assert!(!text.contains("authorization") && !text.contains("proxy"), "{text}");
    assert_eq!(proxy.connections(), 0);
    host.stop().await;
}

#[tokio::test]
async fn a_machine_without_authorities_says_what_to_do() {
    let server = Server::start("127.0.0.1:0").await;
    let nowhere = "/nonexistent";
    let lab = lab().with_variable("SSL_CERT_FILE", nowhere).with_variable("SSL_CERT_DIR", nowhere);
    let mut host = lab.start(["host"]).await;
    let (status, text) = host.get(&format!("/?url=https://{}/", server.address)).await;
    assert_eq!(status, 502);
    assert!(text.contains("ConfigurationError"), "{text}");
    within(host.logs("no certificate authorities")).await;
    within(host.logs("`outbound.ca-file`")).await;
    host.stop().await;
}

#[tokio::test]
async fn a_file_of_authorities_that_is_missing_is_an_error_at_start() {
    let lab = lab();
    let config = std::fs::read_to_string(lab.path("backplane.toml")).unwrap();
    lab.write("backplane.toml", format!("{config}\n[outbound]\nca-file = \"none.pem\"\n"));
    lab.run(["host"]).await.is_refused(&["none.pem", "`outbound.ca-file`", "expected"]);
}
