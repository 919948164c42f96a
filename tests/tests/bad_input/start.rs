//! What keeps the host itself from starting.

use std::net::TcpListener;

use backplane_tests::{Lab, component};

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let lab = Lab::new();
    let hello = component("hello");
    lab.run(["run".as_ref(), hello.as_os_str(), "--listen".as_ref(), address.as_ref()])
        .await
        .is_refused(&[
            &format!("cannot listen on {address}"),
            "another process listens there",
            "`http.listen` (`--listen`)",
        ]);
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_written_is_named() {
    let lab = Lab::new();
    lab.write("file", "");
    let hello = component("hello");
    // Permissions do not stop root; a file in the way, or a file system that is not one to store in,
    // stops everybody.
    for data in ["file/data", "/proc/data"] {
        lab.write("backplane.toml", format!("data = \"{data}\"\n"));
        lab.run(["run".as_ref(), hello.as_os_str()]).await.is_refused(&[
            "backplane.toml",
            &format!("the data folder {}", lab.path(data).display()),
            "name one that this user can write, with `data` in the config or BACKPLANE_DATA",
        ]);
    }
}

#[tokio::test]
async fn a_typo_in_the_configuration_is_named_with_its_place_and_the_nearest_key() {
    let lab = Lab::new().with_config("enalbe = []\n\n[limits]\nmemory = \"64MB\"\n");
    let hello = component("hello");
    lab.run(["run".as_ref(), hello.as_os_str()]).await.is_refused(&[
        "error: unknown key `enalbe`\n  --> backplane.toml:1:1\n",
        "did you mean `enable`?",
        "error: `limits.memory`: `64MB` has an unknown unit\n  --> backplane.toml:4:1\n",
        "64MiB",
    ]);
}
