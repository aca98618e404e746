//! A cluster from a backup: offline into an empty data directory (`--restore FILE`), or into the data directory of a new
//! cluster that gives way to it (`wharf restore FILE`).
//!
//! Either way the backup is first staged in the data directory, whole and checked. From then on it decides: whenever a
//! controller starts and finds it, it lays its data directory anew from it, and removes it when all is there. A crash at
//! any moment is healed by starting again.

mod error;
mod lay;
mod stage;

pub use error::RestoreError;
pub use stage::{Staged, Staging};

use crate::{
    data_dir::DataDir,
    raft::LogStore,
    settings::{Settings, Start},
};
use std::{
    fs::File,
    io::{self, ErrorKind},
    path::Path,
};
use wharf_identity::Credentials;
use wharf_proto::backup;

/// Lays the data directory from a backup, if one is staged or `settings` name one; gives the new identity.
///
/// # Errors
/// When the backup can't be used, or the directory holds something else already.
pub fn restore(
    settings: &Settings,
    data_dir: &DataDir,
    store: &LogStore,
) -> Result<Option<Credentials>, RestoreError> {
    let staged = match (data_dir.restoring().exists()?, &settings.start) {
        (true, _) => Staged::open(data_dir)?,
        (false, Start::Restore { file, .. }) => {
            if is_taken(data_dir, store)? {
                return from_the_same(data_dir, file).map(|()| None);
            }
            Staging::copy(data_dir, file)?
        }
        (false, _) => return Ok(None),
    };
    lay::lay(settings, data_dir, store, staged).map(Some)
}

/// Whether a data directory is a controller's already.
fn is_taken(data_dir: &DataDir, store: &LogStore) -> Result<bool, RestoreError> {
    Ok(store.id()?.is_some()
        || data_dir.identity().load()?.is_some()
        || data_dir.founding().exists()?
        || data_dir.joining().exists()?)
}

/// A controller that was restored is started again like any other, with the same arguments. With another file it would
/// be wrong to go on as if that one had been restored.
fn from_the_same(data_dir: &DataDir, file: &Path) -> Result<(), RestoreError> {
    let restored = data_dir.restored().read()?;
    let same = match File::open(file).and_then(backup::checksum) {
        Ok(checksum) => restored.as_deref() == Some(&checksum[..]),
        // It did its work, and has been put away.
        Err(error) if error.kind() == ErrorKind::NotFound => restored.is_some(),
        Err(source) => return Err(RestoreError::open(file, source)),
    };
    if same { Ok(()) } else { Err(RestoreError::Taken(data_dir.path().to_owned())) }
}

/// What went wrong with the disk, where it is not the backup's fault.
fn disk(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |source| RestoreError::Disk { path, source }
}
