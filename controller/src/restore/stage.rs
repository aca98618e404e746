//! Staging a backup: into a file beside, checked as a whole, then under the name that decides.

use super::{RestoreError, disk};
use crate::data_dir::DataDir;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use wharf_cluster::state::State;
use wharf_proto::backup::{Backup, BackupError, MAX_BACKUP};

/// What has to stay free besides the backup and the log that is made of it: a full disk stops a controller.
const HEADROOM: u64 = 64 << 20;

/// A backup that is on its way into the data directory. It is removed unless [`Staging::decide`] is called.
#[derive(Debug)]
pub struct Staging {
    file: File,
    path: PathBuf,
    left: u64,
    size: u64,
    decided: bool,
}

/// A backup that lies in the data directory, whole and understood.
#[derive(Debug)]
pub struct Staged {
    /// The backup.
    pub backup: Backup<File>,
    /// The state in it.
    pub state: State,
}

impl Staged {
    /// The one that an earlier start, or a client, has left there.
    pub(super) fn open(data_dir: &DataDir) -> Result<Self, RestoreError> {
        let path = data_dir.restoring().path().to_owned();
        let read = || {
            let mut backup = Backup::open(File::open(&path)?)?;
            let state = backup.state()?;
            Ok(Staged { backup, state })
        };
        read().map_err(|source: BackupError| RestoreError::Staged { file: path.clone(), source })
    }
}

impl Staging {
    /// Begins to stage a backup of so many bytes.
    ///
    /// # Errors
    /// When it is too large, or no file can be made.
    pub fn begin(data_dir: &DataDir, size: u64) -> Result<Self, RestoreError> {
        let path = data_dir.restoring().path().with_extension("new");
        if size > MAX_BACKUP {
            return Err(RestoreError::Backup { file: path, source: BackupError::TooLarge });
        }
        let stat =
            rustix::fs::statvfs(data_dir.path()).map_err(|error| disk(data_dir.path())(error.into()))?;
        let (free, needed) = (stat.f_bavail.saturating_mul(stat.f_frsize), size * 2 + HEADROOM);
        if free < needed {
            return Err(RestoreError::NoSpace { path: data_dir.path().to_owned(), free, needed });
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = file.map_err(disk(&path))?;
        Ok(Staging { file, path, left: size, size, decided: false })
    }

    /// Takes more of it.
    ///
    /// # Errors
    /// When that is more than was announced, or can't be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(RestoreError::TooLong(self.size))?;
        self.file.write_all(bytes).map_err(disk(&self.path))
    }

    /// Checks what has come. `from` is what it is called in errors.
    ///
    /// # Errors
    /// When it is not a whole backup of a cluster.
    pub fn check(&self, from: &Path) -> Result<Staged, RestoreError> {
        let wrong = |source| RestoreError::Backup { file: from.to_owned(), source };
        let file = self.file.try_clone().map_err(disk(&self.path))?;
        let mut backup = Backup::open(file).map_err(wrong)?;
        let state = backup.state().map_err(wrong)?;
        if state.cluster().is_none() {
            return Err(RestoreError::NoCluster(from.to_owned()));
        }
        Ok(Staged { backup, state })
    }

    /// Makes it the one that decides, durably.
    ///
    /// # Errors
    /// When that can't be written.
    pub fn decide(mut self, data_dir: &DataDir) -> Result<(), RestoreError> {
        let to = data_dir.restoring().path().to_owned();
        let renamed = self.file.sync_all().and_then(|()| fs::rename(&self.path, &to));
        renamed.and_then(|()| File::open(data_dir.path())?.sync_all()).map_err(disk(&to))?;
        self.decided = true;
        Ok(())
    }

    /// Stages a file of this machine.
    pub(super) fn copy(data_dir: &DataDir, from: &Path) -> Result<Staged, RestoreError> {
        let mut source = File::open(from).map_err(|error| RestoreError::open(from, error))?;
        // Before anything is written: most mistakes are noticed by then.
        let size = Backup::open(&source)
            .map_err(|source| RestoreError::Backup { file: from.to_owned(), source })?
            .size;
        io::Seek::rewind(&mut source).map_err(|error| RestoreError::open(from, error))?;
        let mut staging = Staging::begin(data_dir, size)?;
        io::copy(&mut source, &mut staging.file).map_err(disk(&staging.path))?;
        let staged = staging.check(from)?;
        staging.decide(data_dir)?;
        Ok(staged)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.decided
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove a backup that is not restored");
        }
    }
}
