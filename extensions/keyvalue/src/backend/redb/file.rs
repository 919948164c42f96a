//! The open file: tables to read from, and how it is opened.

use std::{
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, TableError};

use super::{
    Fault,
    format::{self, BucketTable},
};
use crate::{
    Error,
    backend::{BucketId, Entry},
};

/// Which file, and what is in it.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) path: PathBuf,
    /// The tables of the buckets, by their ids.
    pub(super) tables: Vec<String>,
    pub(super) cache_bytes: usize,
    pub(super) check: bool,
}

impl Layout {
    pub(super) fn table(&self, bucket: BucketId) -> Result<BucketTable<'_>, Error> {
        let name = self.tables.get(bucket.0);
        // An id comes from the same config as the tables do.
        name.map(|name| BucketTable::new(name))
            .ok_or_else(|| Error::Unavailable("no such bucket".into()))
    }

    /// Opens the file, or makes it, with every table in it. Also returns the revision of the last
    /// write. A damaged file can make the storage engine panic; that is caught here.
    pub(super) fn open(&self) -> Result<(Database, u64), Fault> {
        catch_unwind(AssertUnwindSafe(|| {
            let new = self.make_file()?;
            let database = redb::Builder::new()
                .set_cache_size(self.cache_bytes)
                .set_check_integrity_on_open(self.check)
                .set_repair_callback({
                    let path = self.path.clone();
                    move |session| {
                        let percent = (session.progress() * 100.0) as u8;
                        tracing::info!(path = %path.display(), percent, "repairing the file after a crash");
                    }
                })
                .create(&self.path)?;
            let revision = self.prepare(&database)?;
            if new {
                self.sync_folder()?;
            }
            Ok((database, revision))
        }))
        .unwrap_or_else(|panic| Err(Fault::panicked(&*panic)))
    }

    /// Makes the tables that are missing. Writes nothing if none is.
    fn prepare(&self, database: &Database) -> Result<u64, Fault> {
        let transaction = database.begin_read()?;
        let about = match transaction.open_table(format::ABOUT) {
            Ok(about) => Some((
                about.get(format::ABOUT_FORMAT)?.map(|number| number.value()),
                about.get(format::ABOUT_REVISION)?.map_or(0, |number| number.value()),
            )),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some((found, _)) = about
            && found != Some(format::FORMAT)
        {
            return Err(Fault::new(format!(
                "it is of format {}, and this version reads format {}; use the version that wrote it",
                found.map_or("none".to_owned(), |format| format.to_string()),
                format::FORMAT
            )));
        }
        let mut missing = about.is_none();
        for name in &self.tables {
            match transaction.open_table(BucketTable::new(name)) {
                Ok(_) => {}
                Err(TableError::TableDoesNotExist(_)) => missing = true,
                Err(error) => return Err(error.into()),
            }
        }
        drop(transaction);
        if missing {
            let transaction = database.begin_write()?;
            transaction.open_table(format::ABOUT)?.insert(format::ABOUT_FORMAT, format::FORMAT)?;
            for name in &self.tables {
                transaction.open_table(BucketTable::new(name))?;
            }
            transaction.commit()?;
        }
        Ok(about.map_or(0, |(_, revision)| revision))
    }

    /// Makes the new file's name as durable as what is in it.
    fn sync_folder(&self) -> Result<(), Fault> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .map_err(|error| Fault::new(format!("its folder cannot be synced: {error}")))
    }

    /// Makes the file, for its owner alone, and says whether it was not there.
    fn make_file(&self) -> Result<bool, Fault> {
        let mut options = OpenOptions::new();
        match options.write(true).create_new(true).mode(0o600).open(&self.path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(Fault::new(format!("it cannot be made: {error}"))),
        }
    }

    /// Whether the file may grow by so many bytes. It may where that cannot be told.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        rustix::fs::statvfs(&self.path).map_or(true, |disk| {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            usize::try_from(free).unwrap_or(usize::MAX) >= bytes
        })
    }

    /// Makes the folder that the file is to be in.
    pub(super) fn make_folder(&self) -> std::io::Result<()> {
        match self.path.parent() {
            Some(folder) => fs::create_dir_all(folder),
            None => Ok(()),
        }
    }
}

/// The buckets as of one commit.
pub(super) struct Snapshot {
    transaction: ReadTransaction,
    /// Opened when first read.
    tables: Vec<OnceLock<ReadOnlyTable<&'static str, &'static [u8]>>>,
}

impl Snapshot {
    /// The buckets as they are now.
    pub(super) fn take(database: &Database, layout: &Layout) -> Result<Self, Fault> {
        let tables = std::iter::repeat_with(OnceLock::new).take(layout.tables.len()).collect();
        Ok(Self { transaction: database.begin_read()?, tables })
    }

    /// A bucket's table.
    pub(super) fn table(
        &self,
        layout: &Layout,
        bucket: BucketId,
    ) -> Result<&ReadOnlyTable<&'static str, &'static [u8]>, Error> {
        let unknown = || Error::Unavailable("no such bucket".into());
        let place = self.tables.get(bucket.0).ok_or_else(unknown)?;
        if place.get().is_none() {
            let table = self.transaction.open_table(layout.table(bucket)?).map_err(Fault::from)?;
            // Another thread may have been faster; its table is the same.
            drop(place.set(table));
        }
        place.get().ok_or_else(unknown)
    }

    /// The entry of a key.
    pub(super) fn get(
        &self,
        layout: &Layout,
        bucket: BucketId,
        key: &str,
    ) -> Result<Option<Entry>, Error> {
        let guard = self.table(layout, bucket)?.get(key).map_err(Fault::from)?;
        Ok(guard.map(format::read_entry).transpose()?)
    }
}
