//! What can go wrong with a store, in words that say what to do about it.

use std::io;
use std::path::Path;

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file can't be opened.
    #[error("can't open the raft log {path}: {source}")]
    Open {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Its file system is full.
    #[error(
        "no space is left for the raft log {path}; free some on its file system, then start this controller again: \
         it goes on from what it has acknowledged"
    )]
    Full {
        /// The file.
        path: String,
    },
    /// The disk fails.
    #[error(
        "the disk fails under the raft log {path} ({source}); see the kernel's log for the cause, and start this \
         controller again when the disk is sound: it goes on from what it has acknowledged"
    )]
    Disk {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The database reports a failure.
    #[error("the raft log failed: {0}")]
    Database(#[source] Box<redb::Error>),
    /// Another process has it open.
    #[error("the raft log {0} is in use by another process; stop that controller first")]
    InUse(String),
    /// Its contents are damaged.
    #[error(
        "the raft log is corrupted ({0}); don't start from it: move the data directory away, remove this \
         controller with `wharf controller rm` at another, and join it again (a sole controller is restored \
         from a backup)"
    )]
    Corrupted(String),
    /// Written by another version.
    #[error("the raft log has format {found}, this version knows {known}; start the version that wrote it")]
    Format {
        /// The format in the file.
        found: u64,
        /// The format that this version writes.
        known: u64,
    },
    /// A snapshot can't be made.
    #[error("the snapshot can't be encoded: {0}")]
    Encode(#[source] io::Error),
    /// It belongs to no replica yet.
    #[error("the raft log is empty; bootstrap a cluster or join one first")]
    Empty,
    /// It belongs to a replica already.
    #[error("the raft log already belongs to controller {0}; use an empty data directory")]
    NotEmpty(u64),
    /// The requested part is not there any more.
    #[error("the raft log no longer holds {0}")]
    Missing(String),
}

impl StoreError {
    /// Why the log at `path` can't be opened.
    pub(super) fn open(path: &Path, source: io::Error) -> Self {
        match Self::disk(path, source) {
            Self::Disk { path, source } => Self::Open { path, source },
            full => full,
        }
    }

    /// What an error of the disk means for the log at `path`.
    #[must_use]
    pub fn disk(path: &Path, source: io::Error) -> Self {
        let shown = path.display().to_string();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: shown },
            // The file is shorter than its own header says, or not what it should be.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                Self::Corrupted(format!("{shown}: {source}"))
            }
            _ => Self::Disk { path: shown, source },
        }
    }

    /// The same error, saying which file it is about.
    pub(super) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Corrupted(what) => Self::Corrupted(format!("{}: {what}", path.display())),
            Self::Database(error) => match *error {
                redb::Error::Io(source) => Self::disk(path, source),
                redb::Error::Corrupted(what) => Self::Corrupted(format!("{}: {what}", path.display())),
                redb::Error::PreviousIo => Self::disk(path, io::Error::other("it has failed before")),
                redb::Error::DatabaseAlreadyOpen => Self::InUse(path.display().to_string()),
                other => Self::Database(Box::new(other)),
            },
            other => other,
        }
    }

    /// Whether the disk is at fault, which may pass, and not what it holds.
    #[must_use]
    pub fn is_disk(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Disk { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_failing_one_and_from_damage() {
        let path = Path::new("/data/raft.redb");
        let error = |number| StoreError::disk(path, io::Error::from_raw_os_error(number));
        let (full, failing) = (error(28), error(5));
        assert!(matches!(full, StoreError::Full { .. }) && full.is_disk());
        assert!(full.to_string().contains("/data/raft.redb; free some"), "{full}");
        assert!(matches!(failing, StoreError::Disk { .. }) && failing.is_disk());
        assert!(failing.to_string().contains("Input/output error"), "{failing}");
        let short = StoreError::Database(Box::new(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
        let short = short.in_file(path);
        assert!(matches!(&short, StoreError::Corrupted(what) if what.contains("/data/raft.redb")), "{short}");
    }
}
