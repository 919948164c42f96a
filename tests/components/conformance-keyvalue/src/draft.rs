//! 0.2.0-draft: numbers are unsigned, cursors are numbers, no compare-and-swap.

use crate::{
    bindings::wasi::keyvalue0_2_0_draft::{
        atomics, batch,
        store::{self, Bucket, Error},
    },
    report::Report,
};

crate::common!();

/// What `list-keys` takes for the cursor that it gave.
fn next(cursor: &u64) -> Option<u64> {
    Some(*cursor)
}

fn atomic(report: &mut Report, bucket: &Bucket, prefix: &str) -> Result<(), Error> {
    let key = format!("{prefix}/number");
    bucket.delete(&key)?;
    report.equal("increment begins at 0", &atomics::increment(bucket, &key, 5)?, &5);
    report.equal("increment adds", &atomics::increment(bucket, &key, 37)?, &42);
    report.equal("an increment by 0 reads", &atomics::increment(bucket, &key, 0)?, &42);
    bucket.set(&key, b"not a number at all")?;
    let refused = matches!(atomics::increment(bucket, &key, 1), Err(Error::Other(_)));
    report.check("increment of what is not a number is an error", refused);
    bucket.delete(&key)
}
