//! 0.2.0-draft2: numbers are signed, cursors are text, and there is compare-and-swap.

use crate::{
    bindings::wasi::keyvalue0_2_0_draft2::{
        atomics::{self, Cas, CasError},
        batch,
        store::{self, Bucket, Error},
    },
    report::Report,
};

crate::common!();

/// What `list-keys` takes for the cursor that it gave.
fn next(cursor: &str) -> Option<&str> {
    Some(cursor)
}

fn atomic(report: &mut Report, bucket: &Bucket, prefix: &str) -> Result<(), Error> {
    let key = format!("{prefix}/number");
    bucket.delete(&key)?;
    report.equal("increment begins at 0", &atomics::increment(bucket, &key, 5)?, &5);
    report.equal("increment adds", &atomics::increment(bucket, &key, 37)?, &42);
    report.equal("increment subtracts", &atomics::increment(bucket, &key, -50)?, &-8);
    bucket.set(&key, b"not a number at all")?;
    let refused = matches!(atomics::increment(bucket, &key, 1), Err(Error::Other(_)));
    report.check("increment of what is not a number is an error", refused);
    bucket.delete(&key)?;
    swaps(report, bucket, &format!("{prefix}/cas"))
}

fn swaps(report: &mut Report, bucket: &Bucket, key: &str) -> Result<(), Error> {
    bucket.delete(key)?;
    let absent = Cas::new(bucket, key)?;
    report.equal("current of an absent key is none", &absent.current()?, &None);
    let swapped = atomics::swap(absent, b"one");
    report.check("swap makes an absent key", swapped.is_ok());
    report.equal("swap stored its value", &bucket.get(key)?, &Some(b"one".to_vec()));

    let stale = Cas::new(bucket, key)?;
    report.equal("current is the value", &stale.current()?, &Some(b"one".to_vec()));
    bucket.set(key, b"two")?;
    match atomics::swap(stale, b"three") {
        Err(CasError::CasFailed(fresh)) => {
            report.equal("a stale swap stores nothing", &bucket.get(key)?, &Some(b"two".to_vec()));
            report.equal(
                "a stale swap returns the value that stands",
                &fresh.current()?,
                &Some(b"two".to_vec()),
            );
            let swapped = atomics::swap(fresh, b"three");
            report.check("what a stale swap returned can be swapped", swapped.is_ok());
            report.equal("it stored its value", &bucket.get(key)?, &Some(b"three".to_vec()));
        }
        Err(CasError::StoreError(error)) => return Err(error),
        Ok(()) => report.check("a stale swap fails", false),
    }
    bucket.delete(key)
}
