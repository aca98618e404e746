//! A new, empty cluster giving way to one from a backup: its controller lets go of the old log, leaves the backup in its
//! data directory, and starts again as the restored cluster's.

use crate::{
    data_dir::DataDir,
    propose::Raft,
    replica::Published,
    restore::{RestoreError, Staging},
};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use wharf_cluster::state::State;

/// Whether this controller's cluster gives way to another.
#[derive(Debug)]
pub struct Succession {
    /// Where the backup goes.
    pub data_dir: DataDir,
    one: Mutex<()>,
    begun: AtomicBool,
    complete: CancellationToken,
}

impl Succession {
    /// Nothing gives way yet.
    #[must_use]
    pub fn new(data_dir: DataDir) -> Self {
        Succession {
            data_dir,
            one: Mutex::default(),
            begun: AtomicBool::new(false),
            complete: CancellationToken::new(),
        }
    }

    /// Waits until this controller is to be started again.
    pub async fn complete(&self) {
        self.complete.cancelled().await;
    }

    /// The replica was stopped for it.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Lets one backup in at a time.
    ///
    /// # Errors
    /// When another one is coming in.
    pub fn enter(&self) -> Result<MutexGuard<'_, ()>, Status> {
        self.one.try_lock().map_err(|_| Status::aborted("another backup is being restored into this cluster"))
    }

    /// Lets the staged backup decide, if the cluster is still as empty as it was. Either way the controller is to be
    /// started again. Not to be given up halfway.
    ///
    /// # Errors
    /// When the cluster is not empty any more, or the backup can't be left in place.
    pub async fn give_way(&self, raft: &Raft, published: &Published, staging: Staging) -> Result<(), Status> {
        self.begun.store(true, Ordering::Release);
        // No write is acknowledged from here on; all that were are in the state.
        raft.shutdown().await;
        let decided = must_be_new(&published.state()).and_then(|()| Ok(staging.decide(&self.data_dir)?));
        self.complete.cancel();
        decided
    }
}

/// Refuses unless nothing would be lost with this cluster.
///
/// # Errors
/// When there is anything in it.
pub fn must_be_new(state: &State) -> Result<(), Status> {
    let held = [
        (state.controllers().count().saturating_sub(1), "more controllers"),
        (state.nodes().count(), "nodes"),
        (state.stacks().count(), "stacks"),
        (state.services().count(), "services"),
    ];
    let held: Vec<String> =
        held.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if held.is_empty() {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "this cluster is not empty, and would be lost: it has {}. Restore into a new one: start a controller with an empty \
         data directory and --bootstrap, or with --restore FILE",
        held.join(", ")
    )))
}

impl From<RestoreError> for Status {
    fn from(error: RestoreError) -> Self {
        let message = error.to_string();
        match error {
            RestoreError::Backup { .. } | RestoreError::NoCluster(_) | RestoreError::Authority(_) => {
                Status::failed_precondition(message)
            }
            RestoreError::TooLong(_) => Status::invalid_argument(message),
            RestoreError::Disk { .. } | RestoreError::NoSpace { .. } => Status::resource_exhausted(message),
            _ => Status::internal(message),
        }
    }
}
