//! The plugins folder: which extensions lie in it, read without opening any.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::metadata::{Library, Refusal};
use crate::name::Digest;

/// A library or component in the plugins folder.
#[derive(Debug)]
pub struct Found {
    /// The file.
    pub file: PathBuf,
    /// Its digest; none if it cannot be read.
    pub digest: Option<Digest>,
    /// What it says of itself, or why this host refuses it.
    pub library: Result<Library, Refusal>,
}

/// Why the plugins folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Everybody may put code into the host.
    #[error(
        "every user of this machine can write to the plugins folder {folder}, and so put code into the host; run `chmod o-w {folder}`"
    )]
    WorldWritable {
        /// The folder.
        folder: PathBuf,
    },
    /// It cannot be read.
    #[error("the plugins folder {folder} cannot be read: {error}")]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
}

/// Lists the libraries (`*.so`) and components (`*.wasm`) in `folder`, by name. A folder that is not there has none.
///
/// # Errors
///
/// [`FolderError`] when every user may write to it, or it cannot be read.
pub fn scan(folder: &Path) -> Result<Vec<Found>, FolderError> {
    if check(folder)? { list(folder) } else { Ok(Vec::new()) }
}

/// Lists the libraries in a folder that was checked. Reads all of each, which takes its time.
///
/// # Errors
///
/// [`FolderError`] when the folder cannot be read.
pub fn list(folder: &Path) -> Result<Vec<Found>, FolderError> {
    let unreadable = |error| FolderError::Unreadable { folder: folder.to_owned(), error };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "so" || extension == "wasm") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files.into_iter().map(found).collect())
}

/// Checks who may write to the folder. False if it is not there.
///
/// # Errors
///
/// [`FolderError`] when every user may, or the folder cannot be read.
pub fn check(folder: &Path) -> Result<bool, FolderError> {
    let metadata = match fs::metadata(folder) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => {
            return Err(FolderError::Unreadable { folder: folder.to_owned(), error });
        }
    };
    let mode = metadata.permissions().mode();
    if mode & 0o002 != 0 {
        return Err(FolderError::WorldWritable { folder: folder.to_owned() });
    }
    if mode & 0o020 != 0 {
        tracing::warn!(
            folder = %folder.display(),
            group = metadata.gid(),
            "the group can write to the plugins folder, and so put code into the host; run `chmod g-w {}`",
            folder.display()
        );
    }
    Ok(true)
}

/// Reads one library file.
pub fn found(file: PathBuf) -> Found {
    match fs::read(&file) {
        Ok(bytes) => {
            let library = Library::of_file(&file, &bytes);
            Found { file, digest: Some(Digest::of(&bytes)), library }
        }
        Err(error) => Found { file, digest: None, library: Err(Refusal::Unreadable(error)) },
    }
}
