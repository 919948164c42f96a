//! What is answered on the admin address, to whom, and whether there is one.

use backplane_tests::{Lab, component, within};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::support::{Admin, lab};

#[tokio::test]
async fn a_host_that_serves_is_live_and_ready() {
    let lab = lab("", "");
    let mut host = lab.start(["host"]).await;
    let admin = Admin::of(&mut host).await;
    assert_eq!(admin.get("/livez").await, (200, "ok\n".to_owned()));
    admin.until("/readyz", 200, "ready").await;
    let json = admin.request("GET", "/readyz").header("accept", "application/json").send();
    let json = within("json", json).await.unwrap();
    assert_eq!(json.headers()["content-type"], "application/json");
    assert_eq!(json.text().await.unwrap(), r#"{"status":"ready","reasons":[]}"#);
    host.stop().await;
}

#[tokio::test]
async fn there_is_nothing_else_and_nothing_to_change() {
    let lab = lab("", "");
    let mut host = lab.start(["host"]).await;
    let admin = Admin::of(&mut host).await;
    for (method, path, status, body) in [
        ("GET", "/", 404, "here are /livez, /readyz and /metrics\n"),
        ("GET", "/livez/x", 404, "here are /livez, /readyz and /metrics\n"),
        ("POST", "/livez", 405, "GET or HEAD\n"),
        ("DELETE", "/metrics", 405, "GET or HEAD\n"),
        ("HEAD", "/livez", 200, ""),
    ] {
        let response = within(path, admin.request(method, path).send()).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        assert_eq!(response.headers().contains_key("allow"), status == 405, "{method} {path}");
        assert_eq!(response.headers()["connection"], "close");
        assert_eq!(response.text().await.unwrap(), body, "{method} {path}");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_client_that_is_slow_or_says_too_much_is_cut_and_holds_nobody_up() {
    let lab = lab("", "");
    let mut host = lab.start(["host"]).await;
    let admin = Admin::of(&mut host).await;
    let mut slow = Vec::new();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(&admin.0).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost:").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(admin.get("/livez").await.0, 200);
    let mut stream = TcpStream::connect(&admin.0).await.unwrap();
    let head = format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    within("an answer", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
    // 5 seconds, and some more for a busy machine. What hyper itself allows is 30.
    let begun = std::time::Instant::now();
    for mut stream in slow {
        let ended = within("the end of a slow connection", stream.read(&mut [0; 1])).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    host.stop().await;
}

#[tokio::test]
async fn a_port_in_use_ends_the_start_before_any_extension_runs() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let lab = lab("", "").with_variable("BACKPLANE_ADMIN__LISTEN", &address);
    let ran = lab.run(["host"]).await;
    ran.is_refused(&[
        "health and metrics cannot be served",
        "--> environment variable BACKPLANE_ADMIN__LISTEN",
        &format!("failed to listen on {address}: another process listens there"),
        "`admin.listen` (`--admin`), or `off`",
    ]);
    assert!(!ran.stderr.contains("extension loaded"), "{}", ran.stderr);
}

#[tokio::test]
async fn an_address_that_others_reach_is_warned_about() {
    let lab = lab("", "").with_variable("BACKPLANE_ADMIN__LISTEN", "0.0.0.0:0");
    let mut host = lab.start(["host"]).await;
    host.logs("is not on loopback alone").await;
    let port = host.admin().await.rsplit(':').next().unwrap().to_owned();
    assert_eq!(Admin(format!("127.0.0.1:{port}")).get("/livez").await.0, 200);
    host.stop().await;
}

#[tokio::test]
async fn one_component_has_no_admin_address_unless_it_is_asked_for() {
    // Nobody says anything about it, as without this lab.
    let lab = Lab::new().with_variable("BACKPLANE_ADMIN__WATCHDOG", "none");
    let lab = lab.without_variable("BACKPLANE_ADMIN__LISTEN");
    let hello = component("hello").display().to_string();
    let host = lab.start(["run", &hello, "--listen", "127.0.0.1:0"]).await;
    assert!(!host.log().contains("health and metrics"), "{}", host.log());
    host.stop().await;
    let mut host =
        lab.start(["run", &hello, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).await;
    let admin = Admin::of(&mut host).await;
    admin.until("/readyz", 200, "ready").await;
    host.stop().await;
}
