//! The host knows no pluggable interface: a package made up on the spot, with an extension and a guest
//! for it, runs on the host that was built before.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod package;
mod sources;

use std::{fs, path::Path};

use backplane_tests::Lab;
use package::Package;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sha2::{Digest as _, Sha256};

/// Repeats what a run has printed.
const SEED: &str = "UNKNOWN_PACKAGE_SEED";

fn seed() -> u64 {
    let given = std::env::var(SEED).ok().map(|seed| seed.parse().unwrap());
    let seed = given.unwrap_or_else(|| rand::rng().random());
    println!("{SEED}={seed}");
    seed
}

#[tokio::test]
async fn a_package_that_the_host_never_heard_of_is_served() {
    let program = || fs::read(backplane_tests::program()).unwrap();
    let before = Sha256::digest(program());
    let mut rng = StdRng::seed_from_u64(seed());
    let package = Package::random(&mut rng);
    println!("{}", package.wit());
    let heard_of = |name: &str| program().windows(name.len()).any(|w| w == name.as_bytes());
    assert!(!heard_of(&package.namespace) && !heard_of(&package.interface));

    let built = sources::build(&package, &mut rng).await;
    let lab = Lab::new();
    let (extension, interface) = (&package.extension, package.interface_name());
    lab.write(&format!("plugins/{extension}.so"), fs::read(&built.extension).unwrap());
    lab.write("guest.wasm", fs::read(&built.guest).unwrap());

    lab.run(["run", "guest.wasm"]).await.is_refused(&[
        &format!("nothing provides `{interface}`"),
        &format!("the extension `{extension}`"),
        &format!("enable = [\"{extension}\"]"),
    ]);

    let enable = format!("enable = [\"{extension}\"]\n");
    let lab = lab.with_config(&enable);
    let listed = lab.run(["extensions"]).await;
    assert!(listed.succeeds().contains(&interface), "{}", listed.stdout);
    let ran = lab.run(["run", "guest.wasm"]).await;
    assert_eq!(ran.succeeds(), format!("{} answers are right\n", package.calls()));

    assert_eq!(Sha256::digest(program()), before, "the host is another than at the beginning");
}

#[test]
fn the_source_of_the_host_names_no_pluggable_interface() {
    const NAMES: [&str; 3] = ["keyvalue", "blobstore", "messaging"];
    fn search(folder: &Path, files: &mut usize) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                search(&path, files);
                continue;
            }
            *files += 1;
            let text = fs::read_to_string(&path).unwrap().to_ascii_lowercase();
            for (number, line) in text.lines().enumerate() {
                let found = NAMES.iter().find(|name| line.contains(**name));
                assert_eq!(found, None, "{}:{}: {line}", path.display(), number + 1);
            }
        }
    }
    let mut files = 0;
    search(&sources::repository().join("host/src"), &mut files);
    assert!(files > 50, "only {files} files were searched");
}
