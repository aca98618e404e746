//! The folder that holds a controller's log and identity, for its owner only.

use std::{
    fs::{self, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use thiserror::Error;
use wharf_identity::{
    IdentityFolder,
    file::{make_private_folder, sync_folder_of, write_private},
};

/// Why the folder can't be used.
#[derive(Debug, Error)]
#[error("cannot use {path}: {source}", path = path.display())]
pub struct DataDirError {
    path: PathBuf,
    source: io::Error,
}

/// Raft's log in it.
pub const LOG: &str = "raft.redb";

/// A controller's folder.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// Opens the folder, and makes it if there is none.
    ///
    /// # Errors
    /// When it can't be made or closed to others.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        make_private_folder(path)
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)))
            .map_err(|source| DataDirError { path: path.to_owned(), source })?;
        Ok(DataDir { path: path.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Raft's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// This controller's identity.
    #[must_use]
    pub fn identity(&self) -> IdentityFolder {
        IdentityFolder::new(self.path.join("identity"))
    }

    /// The first command of a cluster that is only being made, and holds its authority's key.
    #[must_use]
    pub fn founding(&self) -> Note {
        Note { path: self.path.join("founding") }
    }

    /// There while a join goes on.
    #[must_use]
    pub fn joining(&self) -> Note {
        Note { path: self.path.join("joining") }
    }

    /// A backup that the directory is to be laid from, whole and checked.
    #[must_use]
    pub fn restoring(&self) -> Note {
        Note { path: self.path.join("restoring") }
    }

    /// The checksum of the backup that the directory was laid from.
    #[must_use]
    pub fn restored(&self) -> Note {
        Note { path: self.path.join("restored") }
    }

    /// Where the first admin's context goes, unless told otherwise.
    #[must_use]
    pub fn admin_context(&self) -> PathBuf {
        self.path.join("admin.json")
    }
}

/// A small file that says how far something is: whole after a crash, or not there.
#[derive(Clone, Debug)]
pub struct Note {
    path: PathBuf,
}

impl Note {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is there.
    ///
    /// # Errors
    /// When that can't be found out.
    pub fn exists(&self) -> Result<bool, DataDirError> {
        self.path.try_exists().map_err(|source| self.error(source))
    }

    /// What it says; `None` if it isn't there.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(&self) -> Result<Option<Vec<u8>>, DataDirError> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.error(source)),
        }
    }

    /// Writes it, durably.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, bytes: &[u8]) -> Result<(), DataDirError> {
        write_private(&self.path, bytes).map_err(|source| self.error(source))
    }

    /// Removes it, durably, if it is there.
    ///
    /// # Errors
    /// When it can't be removed.
    pub fn remove(&self) -> Result<(), DataDirError> {
        match fs::remove_file(&self.path).and_then(|()| sync_folder_of(&self.path)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.error(error)),
            _ => Ok(()),
        }
    }

    fn error(&self, source: io::Error) -> DataDirError {
        DataDirError { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_and_its_files_are_their_owners_only() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(&folder.path().join("a/b")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(data_dir.path()), 0o700);
        let note = data_dir.founding();
        assert_eq!(note.read().unwrap(), None);
        note.write(b"one").unwrap();
        note.write(b"two").unwrap();
        assert_eq!(note.read().unwrap().unwrap(), b"two");
        assert_eq!(mode(&note.path), 0o600);
        note.remove().unwrap();
        note.remove().unwrap();
        assert_eq!(note.read().unwrap(), None);
    }
}
