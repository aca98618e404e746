//! What a replica asks its host to do.

use ::raft::eraftpb::{ConfState, Message};

use crate::raft::state_machine::SnapshotEncoder;
use crate::raft::storage::{Batch, Position, SnapshotRecord, Store, StoreError, write_snapshot};

/// A step of the log to be made durable. The host answers with
/// [`RaftCore::persisted`](super::RaftCore::persisted), in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Its number; grows by one.
    pub id: u64,
    /// What to write.
    pub batch: Batch,
}

/// A snapshot to send. The host answers with
/// [`RaftCore::report_snapshot`](super::RaftCore::report_snapshot).
#[derive(Debug, Clone, PartialEq)]
pub struct SendSnapshot {
    /// The message that announces it.
    pub head: Message,
    /// Where it is.
    pub record: SnapshotRecord,
}

/// A snapshot to make from a captured state, away from the replica's thread. The host answers with
/// [`RaftCore::snapshot_built`](super::RaftCore::snapshot_built).
pub struct SnapshotJob {
    pub(super) at: Position,
    pub(super) members: ConfState,
    pub(super) encode: SnapshotEncoder,
}

impl SnapshotJob {
    /// Encodes the state and writes it to the store.
    ///
    /// # Errors
    /// When the store can't be written.
    pub fn run(self, store: &dyn Store) -> Result<SnapshotRecord, StoreError> {
        write_snapshot(store, self.at, self.members, &(self.encode)())
    }
}

/// Everything that a replica wants done, in no particular order but the writes'.
#[derive(Default)]
pub struct Effects {
    /// Messages to send now.
    pub messages: Vec<Message>,
    /// Snapshots to send.
    pub snapshots: Vec<SendSnapshot>,
    /// Steps of the log to make durable, in this order.
    pub writes: Vec<Write>,
    /// A snapshot to make.
    pub job: Option<SnapshotJob>,
    /// Snapshots in the store that are not needed.
    pub discard: Vec<u64>,
}
