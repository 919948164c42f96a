//! Files: a guest sees its folders, in the way that it is granted, and nothing beside them.

use std::{fs, os::unix::fs::symlink, path::Path};

use backplane::workload::spec::Preopen;

use crate::support::{Host, spec, within};

/// A folder that a guest is granted, beside a file and a folder that it is not.
struct Lab(tempfile::TempDir);

impl Lab {
    fn new() -> Self {
        let lab = Self(tempfile::tempdir().unwrap());
        fs::create_dir(lab.path("granted")).unwrap();
        fs::create_dir(lab.path("granted/sub")).unwrap();
        fs::create_dir(lab.path("outside")).unwrap();
        fs::write(lab.path("granted/file"), "inside").unwrap();
        fs::write(lab.path("outside/secret"), "secret").unwrap();
        fs::write(lab.path("secret"), "secret").unwrap();
        lab
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Runs the guest `command`; whether it did what it was told.
    async fn does(&self, writable: bool, arguments: &[&str]) -> bool {
        let mut spec = spec("command");
        spec.http = None;
        spec.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        spec.preopens =
            vec![Preopen { host: self.path("granted"), guest: "/data".to_owned(), writable }];
        let host = Host::start(spec).await;
        within(host.0.run_command()).await.unwrap().unwrap() == 0
    }

    /// What is outside is as it was.
    fn is_untouched(&self) {
        for secret in ["outside/secret", "secret"] {
            assert_eq!(fs::read_to_string(self.path(secret)).unwrap(), "secret");
        }
        for (folder, entries) in [("outside", 1), (".", 3)] {
            assert_eq!(fs::read_dir(self.path(folder)).unwrap().count(), entries, "{folder}");
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[tokio::test]
async fn no_path_leads_out_of_a_folder() {
    let lab = Lab::new();
    let absolute = text(&lab.path("secret"));
    // Links that somebody else has left there.
    symlink("../secret", lab.path("granted/relative")).unwrap();
    symlink(&absolute, lab.path("granted/absolute")).unwrap();
    symlink("../outside", lab.path("granted/folder")).unwrap();
    symlink("/proc/self/environ", lab.path("granted/environment")).unwrap();
    symlink("/proc/self/root", lab.path("granted/root")).unwrap();
    for path in [
        "/data/../secret",
        "/data/sub/../../secret",
        "/data/./../secret",
        "/data//../secret",
        "../secret",
        "/data/relative",
        "/data/absolute",
        "/data/folder/secret",
        "/data/sub/../folder/secret",
        "/data/environment",
        "/data/root/etc/hostname",
        "/etc/hostname",
        "/proc/self/environ",
        &absolute,
    ] {
        assert!(!lab.does(true, &["read", path]).await, "read {path}");
        if !path.starts_with("/proc") && !path.starts_with("/etc") {
            assert!(!lab.does(true, &["write", path, "changed"]).await, "write {path}");
        }
        lab.is_untouched();
    }
    for folder in ["/data/..", "/data/folder", "/data/root", "/"] {
        assert!(!lab.does(true, &["list", folder]).await, "list {folder}");
    }
    // What stays inside works, by detours too.
    assert!(lab.does(true, &["read", "/data/sub/../file"]).await);
    symlink("../file", lab.path("granted/sub/link")).unwrap();
    assert!(lab.does(true, &["read", "/data/sub/link"]).await);
}

#[tokio::test]
async fn nothing_is_moved_or_linked_across_the_edge() {
    let lab = Lab::new();
    let (outside, absolute) = (text(&lab.path("outside/new")), text(&lab.path("secret")));
    for attempt in [
        ["rename", "/data/file", "/data/../new"],
        ["rename", "/data/file", outside.as_str()],
        ["rename", "/data/../secret", "/data/taken"],
        ["rename", absolute.as_str(), "/data/taken"],
        ["hard-link", "/data/../secret", "/data/taken"],
        ["hard-link", absolute.as_str(), "/data/taken"],
        ["hard-link", "/data/file", "/data/../new"],
        ["symlink", absolute.as_str(), "/data/taken"],
    ] {
        assert!(!lab.does(true, &attempt).await, "{attempt:?}");
        lab.is_untouched();
        assert!(!lab.path("granted/taken").exists(), "{attempt:?}");
        assert!(lab.path("granted/file").exists(), "{attempt:?}");
    }
    // A link that the guest makes itself leads out as little as any other.
    if lab.does(true, &["symlink", "../secret", "/data/own"]).await {
        assert!(!lab.does(true, &["read", "/data/own"]).await);
        assert!(!lab.does(true, &["write", "/data/own", "changed"]).await);
        // Another link to it is one more of the link, not of what it leads to.
        lab.does(true, &["hard-link", "/data/own", "/data/other"]).await;
        assert!(!lab.does(true, &["read", "/data/other"]).await);
    }
    for attempt in [["remove", "/data/../secret"], ["make-folder", "/data/../new"]] {
        assert!(!lab.does(true, &attempt).await, "{attempt:?}");
    }
    lab.is_untouched();
}

#[tokio::test]
async fn a_folder_that_is_granted_for_reading_is_not_changed() {
    let lab = Lab::new();
    for attempt in [
        &["write", "/data/file", "changed"][..],
        &["write", "/data/new", "text"],
        &["rename", "/data/file", "/data/new"],
        &["hard-link", "/data/file", "/data/new"],
        &["symlink", "file", "/data/new"],
        &["remove", "/data/file"],
        &["make-folder", "/data/new"],
    ] {
        assert!(!lab.does(false, attempt).await, "{attempt:?}");
    }
    assert_eq!(fs::read_to_string(lab.path("granted/file")).unwrap(), "inside");
    assert_eq!(fs::read_dir(lab.path("granted")).unwrap().count(), 2);
    assert!(lab.does(false, &["read", "/data/file"]).await);
    // The same is done where writing is granted.
    assert!(lab.does(true, &["rename", "/data/file", "/data/new"]).await);
    assert!(lab.does(true, &["hard-link", "/data/new", "/data/link"]).await);
    assert!(lab.does(true, &["remove", "/data/new"]).await);
    assert!(lab.does(true, &["make-folder", "/data/folder"]).await);
}
