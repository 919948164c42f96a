//! Who may write to the plugins folder may put code into the host.

use std::ffi::OsStr;

use backplane_tests::{Lab, component};

fn run_hello() -> Vec<std::ffi::OsString> {
    let hello = component("hello");
    [OsStr::new("run"), hello.as_os_str(), "--listen".as_ref(), "127.0.0.1:0".as_ref()]
        .map(OsStr::to_owned)
        .to_vec()
}

#[tokio::test]
async fn a_plugins_folder_that_everyone_can_write_is_refused() {
    let lab = Lab::new().with_keyvalue();
    let message = ["every user of this machine can write to the plugins folder", "chmod o-w"];
    lab.set_mode(0o777);
    lab.run(run_hello()).await.is_refused(&message);
    lab.run(["extensions"]).await.is_refused(&message);
    lab.run(["inspect".as_ref(), component("hello").as_os_str()]).await.is_refused(&message);
}

#[tokio::test]
async fn a_folder_that_everyone_can_write_is_refused_where_config_names_a_file_in_it() {
    let lab = Lab::new().with_keyvalue().with_config(
        "plugins = \"none\"\nenable = [\"keyvalue\"]\n\
         [extensions.keyvalue]\nfile = \"plugins/keyvalue.so\"\n",
    );
    lab.set_mode(0o777);
    lab.run(run_hello()).await.is_refused(&["every user of this machine can write", "chmod o-w"]);
    let listed = lab.run(["extensions"]).await;
    let listed = listed.succeeds();
    assert!(listed.contains("refused"), "{listed}");
    assert!(listed.contains("every user of this machine can write"), "{listed}");
}

#[tokio::test]
async fn a_plugins_folder_that_the_group_can_write_is_warned_about() {
    let lab = Lab::new().with_keyvalue();
    lab.set_mode(0o775);
    let message = "the group can write to the plugins folder";
    let mut running = lab.start(run_hello()).await;
    running.logs(message).await;
    running.logs("chmod g-w").await;
    running.stop().await;

    let listed = lab.run(["extensions"]).await;
    assert!(listed.succeeds().contains("keyvalue"), "{}", listed.stdout);
    listed.says(&[message, "chmod g-w"]);
}
