//! What stands in the file.
//!
//! Format 1: a table `bucket/NAME` for each bucket, from key to entry, and a table `backplane` with
//! the numbers `format` and `revision`. An entry is the byte 1, the revision of its last write
//! (little-endian, 8 bytes) and the value. Another first byte is for later kinds of entry.

use bytes::Bytes;
use redb::{AccessGuard, TableDefinition};

use super::Fault;
use crate::backend::Entry;

/// The format that this version writes, and the newest that it reads.
pub(super) const FORMAT: u64 = 1;

/// A bucket's table.
pub(super) type BucketTable<'a> = TableDefinition<'a, &'static str, &'static [u8]>;

/// Numbers about the file as a whole.
pub(super) const ABOUT: TableDefinition<'static, &'static str, u64> =
    TableDefinition::new("backplane");
/// In [`ABOUT`]: the file's format.
pub(super) const ABOUT_FORMAT: &str = "format";
/// In [`ABOUT`]: the revision of the last write.
pub(super) const ABOUT_REVISION: &str = "revision";

/// Bytes before the value.
pub(super) const HEADER: usize = 9;

const PLAIN: u8 = 1;

/// Up to this length a value is copied out of its page; beyond it the page is kept alive instead.
const COPY_UP_TO: usize = 4096;

/// The name of a bucket's table.
pub(super) fn table_name(bucket: &str) -> String {
    format!("bucket/{bucket}")
}

/// Writes an entry into its place, which is as long as the header and the value together.
pub(super) fn write_entry(place: &mut [u8], revision: u64, value: &[u8]) {
    if let Some(([kind, number @ ..], rest)) = place.split_first_chunk_mut::<HEADER>()
        && rest.len() == value.len()
    {
        *kind = PLAIN;
        *number = revision.to_le_bytes();
        rest.copy_from_slice(value);
    }
}

/// The revision and the value of an entry.
pub(super) fn split_entry(entry: &[u8]) -> Result<(u64, &[u8]), Fault> {
    match entry.split_first_chunk::<HEADER>() {
        Some(([PLAIN, revision @ ..], value)) => Ok((u64::from_le_bytes(*revision), value)),
        Some(([kind, ..], _)) => {
            Err(Fault::damaged(format!("an entry of the unknown kind {kind}")))
        }
        None => Err(Fault::damaged("an entry without a header")),
    }
}

/// An entry out of the file.
pub(super) fn read_entry(guard: AccessGuard<'static, &'static [u8]>) -> Result<Entry, Fault> {
    let (revision, value) = split_entry(guard.value())?;
    let value = if value.len() <= COPY_UP_TO {
        Bytes::copy_from_slice(value)
    } else {
        Bytes::from_owner(Kept(guard))
    };
    Ok(Entry { value, revision })
}

/// A value that lies in a page of the file.
struct Kept(AccessGuard<'static, &'static [u8]>);

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        self.0.value().get(HEADER..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let mut place = vec![0; HEADER + 3];
        write_entry(&mut place, 0x0102_0304_0506_0708, b"abc");
        assert_eq!(place, [1, 8, 7, 6, 5, 4, 3, 2, 1, b'a', b'b', b'c']);
        let (revision, value) = split_entry(&place).unwrap();
        assert_eq!((revision, value), (0x0102_0304_0506_0708, b"abc".as_slice()));
    }

    #[test]
    fn an_entry_of_another_kind_or_without_a_header_is_damage() {
        assert!(split_entry(&[2, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(split_entry(&[1, 0, 0]).is_err());
    }
}
