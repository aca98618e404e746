//! File system errors with the path they happened at; a full disk is a kind of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

/// Something the file system refused.
#[derive(Debug, Clone, Error)]
pub enum FsError {
    /// No space, or over quota.
    #[error("no space left on the disk that holds {}: free some, or give images a larger one", path.display())]
    DiskFull {
        /// Where it was noticed.
        path: PathBuf,
    },
    /// Anything else.
    #[error("can't {action} {}: {cause}", path.display())]
    Io {
        /// What was tried, as in "can't ACTION path".
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// What the system said.
        cause: Arc<io::Error>,
    },
}

impl FsError {
    /// Names `cause` by what was being done to `path`.
    pub fn new(action: &'static str, path: &Path, cause: io::Error) -> Self {
        if is_disk_full(&cause) {
            FsError::DiskFull { path: path.to_owned() }
        } else {
            FsError::Io { action, path: path.to_owned(), cause: Arc::new(cause) }
        }
    }
}

/// Whether an error says that the disk or the quota is full.
pub(crate) fn is_disk_full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Adds what was being done to an I/O result.
pub(crate) trait Context<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, FsError>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, FsError> {
        self.map_err(|e| FsError::new(action, path, e.into()))
    }
}

/// Turns "not there" into none.
pub(crate) fn if_exists<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Writes a small file so that after a crash there is the old or the new one, whole.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    use std::io::Write;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).context("create a file in", folder)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).context("write", path)?;
    file.persist(path).map_err(|e| e.error).context("write", path)?;
    sync_folder(folder)
}

/// Makes a rename or removal within `folder` last.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), FsError> {
    std::fs::File::open(folder).and_then(|f| f.sync_all()).context("sync", folder)
}
