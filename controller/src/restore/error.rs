//! Why a backup can't be restored.

use crate::{data_dir::DataDirError, raft::StoreError as LogError};
use std::{
    io,
    path::{Path, PathBuf},
};
use thiserror::Error;
use wharf_identity::{AuthorityError, CredentialsError, IdentityError, KeyError, StoreError};
use wharf_proto::backup::BackupError;

/// Why a backup can't be restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The file is no backup, or a damaged one.
    #[error("cannot restore {}: {source}", file.display())]
    Backup {
        /// The file.
        file: PathBuf,
        /// Why.
        source: BackupError,
    },
    /// The state in it never was a cluster's.
    #[error("cannot restore {}: it holds a cluster that was only being made", .0.display())]
    NoCluster(PathBuf),
    /// The backup that lies in the data directory can't be used any more.
    #[error(
        "the backup that was to be restored, {}, can't be used: {source}. Remove it to start from what else the data \
         directory holds, or empty the directory and restore again", file.display()
    )]
    Staged {
        /// The file.
        file: PathBuf,
        /// Why.
        source: BackupError,
    },
    /// There is data already.
    #[error(
        "{} holds a controller's data already, and not of this backup: --restore needs an empty data directory. Stop \
         the controller and move the directory away, or start it without --restore", .0.display()
    )]
    Taken(PathBuf),
    /// More bytes came than were announced.
    #[error("more than the {0} bytes came that were announced")]
    TooLong(u64),
    /// The disk would be full.
    #[error("{} has {free} bytes free, and restoring the backup needs {needed}: make room first", path.display())]
    NoSpace {
        /// The data directory.
        path: PathBuf,
        /// What there is.
        free: u64,
        /// What it takes.
        needed: u64,
    },
    /// A file can't be written.
    #[error("cannot write {}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log can't be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// An identity or a context can't be read or saved.
    #[error(transparent)]
    Save(#[from] StoreError),
    /// The backup's authority can't sign.
    #[error("the authority in the backup can't be used: {0}")]
    Authority(#[from] AuthorityError),
    /// No identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Certificates that don't fit.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

impl RestoreError {
    /// `file` can't be read.
    pub(super) fn open(file: &Path, source: io::Error) -> Self {
        RestoreError::Backup { file: file.to_owned(), source: source.into() }
    }
}
