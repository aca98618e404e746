//! What a replica asks its host to do.

use ::raft::eraftpb::{ConfState, Message};

use super::CoreError;
use crate::raft::state_machine::{SnapshotDecoder, SnapshotEncoder, StateMachine};
use crate::raft::storage::{
    Batch, Position, SnapshotRecord, Store, StoreError, read_snapshot, write_snapshot,
};

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
        write_snapshot(store, self.at, self.members, self.encode)
    }
}

/// A snapshot from the leader to be read, away from the replica's thread. The host answers with
/// [`RaftCore::restored`](super::RaftCore::restored).
pub struct RestoreJob<S: StateMachine> {
    pub(super) record: SnapshotRecord,
    pub(super) decode: SnapshotDecoder<S::Restored>,
}

impl<S: StateMachine> RestoreJob<S> {
    /// Reads the snapshot from the store.
    pub fn run(self, store: &dyn Store) -> Restored<S> {
        let index = self.record.index;
        let result = match read_snapshot(store, &self.record, self.decode) {
            Ok(Ok(state)) => Ok(state),
            Ok(Err(source)) => Err(CoreError::Restore { index, source }),
            Err(error) => Err(error.into()),
        };
        Restored { index, result }
    }
}

/// What was read from a snapshot.
pub struct Restored<S: StateMachine> {
    /// The index that it covers.
    pub(super) index: u64,
    pub(super) result: Result<S::Restored, CoreError>,
}

/// Everything that a replica wants done, in no particular order but the writes'.
pub struct Effects<S: StateMachine> {
    /// Messages to send now.
    pub messages: Vec<Message>,
    /// Snapshots to send.
    pub snapshots: Vec<SendSnapshot>,
    /// Steps of the log to make durable, in this order.
    pub writes: Vec<Write>,
    /// A snapshot to make.
    pub job: Option<SnapshotJob>,
    /// A snapshot to read.
    pub restore: Option<RestoreJob<S>>,
    /// Snapshots in the store that are not needed.
    pub discard: Vec<u64>,
}

impl<S: StateMachine> Default for Effects<S> {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            snapshots: Vec::new(),
            writes: Vec::new(),
            job: None,
            restore: None,
            discard: Vec::new(),
        }
    }
}
