//! Calls every function of `wasi:keyvalue`, in 0.2.0-draft and 0.2.0-draft2, and answers with a
//! report: `ok WHAT` or `not ok WHAT: ...` for each check, and last `N ok, M not ok`. The status is 200
//! if all are ok, else 500.
//!
//! Parameters: `bucket` names the bucket to use (by default `default`); `prefix` begins every key;
//! `missing` names a bucket that does not exist and `denied` one that is not granted, each checked
//! where it is given.

mod draft;
mod draft2;
mod report;

use guest_support::{Target, respond};
use wasip2::{
    exports::http::incoming_handler::Guest,
    http::types::{IncomingRequest, ResponseOutparam},
};

use crate::report::Report;

/// One world for both versions.
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package backplane:conformance;
            world conformance {
                include wasi:keyvalue/imports@0.2.0-draft;
                include wasi:keyvalue/imports@0.2.0-draft2;
            }
        ",
        path: [
            "../../../wit/wasi-keyvalue-0.2.0-draft",
            "../../../wit/wasi-keyvalue-0.2.0-draft2",
        ],
        generate_all,
    });
}

struct Conformance;

wasip2::http::proxy::export!(Conformance);

impl Guest for Conformance {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::of(&request);
        let bucket = target.text("bucket").unwrap_or("default");
        let prefix = target.text("prefix").unwrap_or("conformance");
        let mut report = Report::default();

        report.section("draft");
        draft::run(&mut report, bucket, &format!("{prefix}/draft"));
        draft::errors(&mut report, target.text("missing"), target.text("denied"));
        report.section("draft2");
        draft2::run(&mut report, bucket, &format!("{prefix}/draft2"));
        draft2::errors(&mut report, target.text("missing"), target.text("denied"));

        respond(out, if report.is_ok() { 200 } else { 500 }, report.to_string());
    }
}

/// What the two versions have in common, as source: their types differ, their names do not. Defines
/// `errors` and `basics` on the version's `store` and `batch` in scope.
macro_rules! common {
    () => {
        /// Opens buckets that must not open.
        pub(crate) fn errors(report: &mut Report, missing: Option<&str>, denied: Option<&str>) {
            if let Some(missing) = missing {
                let refused = matches!(store::open(missing), Err(Error::NoSuchStore));
                report.check("open of a bucket that does not exist is no-such-store", refused);
            }
            if let Some(denied) = denied {
                let refused = matches!(store::open(denied), Err(Error::AccessDenied));
                report.check("open of a bucket that is not granted is access-denied", refused);
            }
        }

        fn basics(report: &mut Report, bucket: &Bucket, prefix: &str) -> Result<(), Error> {
            let key = format!("{prefix}/basics");
            bucket.delete(&key)?;
            report.equal("get of an absent key is none", &bucket.get(&key)?, &None);
            report.equal("exists of an absent key is false", &bucket.exists(&key)?, &false);
            bucket.set(&key, b"one")?;
            report.equal("get returns what set stored", &bucket.get(&key)?, &Some(b"one".to_vec()));
            report.equal("exists of a present key is true", &bucket.exists(&key)?, &true);
            bucket.set(&key, b"two")?;
            report.equal("set replaces", &bucket.get(&key)?, &Some(b"two".to_vec()));
            bucket.set(&key, b"")?;
            report.equal("an empty value is not none", &bucket.get(&key)?, &Some(Vec::new()));
            let large: Vec<u8> = (0..1_u32 << 20).map(|at| (at % 251) as u8).collect();
            bucket.set(&key, &large)?;
            report.check("a mebibyte comes back as it was", bucket.get(&key)? == Some(large));
            bucket.delete(&key)?;
            report.equal("delete removes", &bucket.get(&key)?, &None);
            bucket.delete(&key)?;
            report.check("delete of an absent key is not an error", true);

            let odd = format!("{prefix}/\u{1f511} ключ\n%00/..");
            bucket.set(&odd, b"odd")?;
            report.equal("a key is any text", &bucket.get(&odd)?, &Some(b"odd".to_vec()));
            bucket.delete(&odd)
        }

        fn lists(report: &mut Report, bucket: &Bucket, prefix: &str) -> Result<(), Error> {
            let mut keys: Vec<_> = (0..5).map(|at| format!("{prefix}/list/{at}")).collect();
            for key in &keys {
                bucket.set(key, b"listed")?;
            }
            let mut listed = Vec::new();
            let mut page = bucket.list_keys(None)?;
            listed.append(&mut page.keys);
            // A store that never ends its pages fails the check instead of holding the guest.
            for _ in 0..10_000 {
                let Some(cursor) = page.cursor.take() else { break };
                page = bucket.list_keys(next(&cursor))?;
                listed.append(&mut page.keys);
            }
            listed.retain(|key| keys.contains(key));
            listed.sort();
            report.equal("list-keys lists each key once", &listed, &keys);
            keys.drain(..).try_for_each(|key| bucket.delete(&key))
        }

        fn batches(report: &mut Report, bucket: &Bucket, prefix: &str) -> Result<(), Error> {
            let keys: Vec<_> = (0..3).map(|at| format!("{prefix}/batch/{at}")).collect();
            let pairs: Vec<_> =
                keys.iter().map(|key| (key.clone(), key.clone().into_bytes())).collect();
            batch::delete_many(bucket, &keys)?;
            report.equal(
                "get-many of absent keys is none for each",
                &batch::get_many(bucket, &keys)?,
                &vec![None; 3],
            );
            batch::set_many(bucket, &pairs)?;
            report.equal(
                "get-many returns what set-many stored, in order",
                &batch::get_many(bucket, &keys)?,
                &pairs.iter().cloned().map(Some).collect::<Vec<_>>(),
            );
            batch::delete_many(bucket, keys.get(1..).unwrap_or_default())?;
            report.equal(
                "delete-many removes its keys and no other",
                &batch::get_many(bucket, &keys)?.iter().map(Option::is_some).collect::<Vec<_>>(),
                &vec![true, false, false],
            );
            batch::delete_many(bucket, &keys)?;
            report.equal("a batch of nothing is nothing", &batch::get_many(bucket, &[])?, &vec![]);
            batch::set_many(bucket, &[])?;
            batch::delete_many(bucket, &[])
        }

        /// Runs every check; an error in the midst of one ends that group.
        pub(crate) fn run(report: &mut Report, bucket: &str, prefix: &str) {
            let Some(bucket) = report.done("open of a granted bucket", store::open(bucket)) else {
                return;
            };
            type Group = fn(&mut Report, &Bucket, &str) -> Result<(), Error>;
            let groups: [(&str, Group); 4] = [
                ("every function of store answers", basics),
                ("list-keys answers", lists),
                ("every function of batch answers", batches),
                ("every function of atomics answers", atomic),
            ];
            for (name, group) in groups {
                let ended = group(report, &bucket, prefix);
                report.done(name, ended);
            }
        }
    };
}
pub(crate) use common;
