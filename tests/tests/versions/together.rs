//! Two versions of an interface, served by one extension in one host at the same time.

use backplane_tests::{Lab, Running, component};

/// A host with one extension and a workload of each version: below `/old` one that was built against
/// `0.2.0-draft`, below `/new` one that was built against `0.2.0-draft2`. Each is granted a bucket as `default`.
async fn both(old: &str, new: &str) -> (Lab, Running) {
    let workload = |name: &str, guest: &str, strip: bool, bucket: &str| {
        format!(
            "[workloads.{name}]\ncomponent = {:?}\nhttp = {{ path = \"/{name}\", strip = {strip} }}\n\
             links = [{{ target = \"wasi:keyvalue\", provider = \"keyvalue\", \
             config = {{ buckets = {{ default = \"{bucket}\" }} }} }}]\n",
            component(guest)
        )
    };
    let lab = Lab::new().with_keyvalue().with_config(&format!(
        "enable = [\"keyvalue\"]\nhttp.listen = \"127.0.0.1:0\"\n\
         [extensions.keyvalue.config]\nbuckets = [\"mine\", \"yours\"]\n{}{}",
        workload("old", "old-counter", true, old),
        // It counts under the path that it is asked for.
        workload("new", "counter", false, new)
    ));
    let running = lab.start(["host"]).await;
    (lab, running)
}

/// The interfaces of `wasi:keyvalue` that a guest imports.
async fn imports(guest: &str) -> Vec<String> {
    let guest = component(guest);
    let lab = Lab::new();
    let inspected = lab.run(["inspect".as_ref(), "--json".as_ref(), guest.as_os_str()]).await;
    let inspected: serde_json::Value = serde_json::from_str(inspected.succeeds()).unwrap();
    let imports = inspected["imports"].as_array().unwrap();
    let names = imports.iter().map(|import| import["import"].as_str().unwrap().to_owned());
    let names: Vec<_> = names.filter(|name| name.starts_with("wasi:keyvalue/")).collect();
    assert!(!names.is_empty(), "{inspected}");
    names
}

#[tokio::test]
async fn each_guest_has_one_version_and_not_that_of_the_other() {
    let old = imports("old-counter").await;
    assert!(old.iter().all(|name| name.ends_with("@0.2.0-draft")), "{old:?}");
    let new = imports("counter").await;
    assert!(new.iter().all(|name| name.ends_with("@0.2.0-draft2")), "{new:?}");
}

#[tokio::test]
async fn two_versions_see_the_same_keys_where_both_are_granted_the_bucket() {
    let (_lab, host) = both("mine", "mine").await;
    assert_eq!(host.get("/old/exists?key=/new").await, (200, "false\n".to_owned()));
    assert_eq!(host.get("/new").await, (200, "1\n".to_owned()));
    assert_eq!(host.get("/old/get?key=/new").await, (200, "1".to_owned()));
    assert_eq!(host.get("/old/increment?key=/new&delta=40").await, (200, "41\n".to_owned()));
    assert_eq!(host.get("/new").await, (200, "42\n".to_owned()));
    assert_eq!(host.get("/old/set?key=/new&value=6").await, (200, "ok\n".to_owned()));
    assert_eq!(host.get("/new").await, (200, "7\n".to_owned()));
    host.stop().await;
}

#[tokio::test]
async fn requests_of_two_versions_that_run_at_once_count_on_the_same_key() {
    let (_lab, host) = both("mine", "mine").await;
    let count = async |path: &str| {
        let mut counts = Vec::new();
        for _ in 0..20 {
            let (status, answer) = host.get(path).await;
            assert_eq!(status, 200, "{answer}");
            counts.push(answer.trim().parse::<u32>().unwrap());
        }
        counts
    };
    let (mut answers, old) = tokio::join!(count("/new"), count("/old/increment?key=/new"));
    answers.extend(old);
    // No number came twice, whichever version it was counted through.
    answers.sort_unstable();
    assert_eq!(answers, (1..=40).collect::<Vec<_>>());
    host.stop().await;
}

#[tokio::test]
async fn two_versions_that_are_granted_a_bucket_each_see_their_own_keys() {
    let (_lab, host) = both("mine", "yours").await;
    assert_eq!(host.get("/new").await, (200, "1\n".to_owned()));
    assert_eq!(host.get("/old/exists?key=/new").await, (200, "false\n".to_owned()));
    assert_eq!(host.get("/old/increment?key=/new&delta=40").await, (200, "40\n".to_owned()));
    assert_eq!(host.get("/new").await, (200, "2\n".to_owned()));
    assert_eq!(host.get("/old/keys").await, (200, "/new\n".to_owned()));
    // Nor by the bucket's own name, which it was not granted under.
    assert_eq!(host.get("/old/keys?bucket=yours").await, (500, "access-denied\n".to_owned()));
    host.stop().await;
}
