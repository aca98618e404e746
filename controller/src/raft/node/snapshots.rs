//! When to snapshot, and what comes of snapshots made here or received.

use ::raft::eraftpb::{Entry, Snapshot};
use protobuf_for_raft::Message as _;

use super::effects::{RestoreJob, Restored, SnapshotJob};
use super::pending::PendingWrite;
use super::{CoreError, RaftCore, StepError};
use crate::raft::snapshot_chunks::ArrivedSnapshot;
use crate::raft::state_machine::StateMachine;
use crate::raft::storage::{Position, SnapshotRecord, Store, StoreError};

/// Ticks to wait after a snapshot that failed.
const RETRY_TICKS: u64 = 100;

/// What is known about snapshots.
pub(super) struct Snapshots {
    /// The newest one's size.
    bytes: u64,
    /// Applied since.
    entries_since: u64,
    bytes_since: u64,
    /// How large the entries were on average that the newest one took in.
    entry_bytes: u64,
    building: bool,
    /// raft wants to send one that isn't there.
    wanted: bool,
    not_before: u64,
    /// Received and not yet taken up by raft.
    arrived: Vec<SnapshotRecord>,
    /// The newest one from the leader, durable, while the machine has not come to it.
    installed: Option<SnapshotRecord>,
    restoring: bool,
}

impl Snapshots {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            bytes,
            entries_since: 0,
            bytes_since: 0,
            entry_bytes: 0,
            building: false,
            wanted: false,
            not_before: 0,
            arrived: Vec::new(),
            installed: None,
            restoring: false,
        }
    }

    pub(super) fn count(&mut self, entry: &Entry) {
        self.entries_since += 1;
        self.bytes_since += entry.encoded_len() as u64;
    }

    /// The newest snapshot has `bytes` now.
    pub(super) fn taken(&mut self, bytes: u64) {
        let entry_bytes = self.bytes_since.checked_div(self.entries_since).unwrap_or(0);
        *self = Self {
            bytes,
            entry_bytes,
            entries_since: 0,
            bytes_since: 0,
            wanted: false,
            ..std::mem::replace(self, Self::new(0))
        };
    }

    pub(super) fn take_arrived(&mut self, snapshot: &Snapshot) -> SnapshotRecord {
        let slot = |record: &SnapshotRecord| record.slot.to_le_bytes() == *snapshot.data;
        let place = self.arrived.iter().position(slot);
        self.arrived.swap_remove(place.expect("raft only knows snapshots that `step_snapshot` gave it"))
    }

    /// A snapshot from the leader is durable.
    pub(super) fn installed(&mut self, record: SnapshotRecord) {
        self.installed = Some(record);
    }

    /// The slots of what raft did not take up.
    pub(super) fn refused(&mut self) -> impl Iterator<Item = u64> + '_ {
        self.arrived.drain(..).map(|record| record.slot)
    }
}

impl<S: StateMachine, D: Store> RaftCore<S, D> {
    /// Takes a snapshot from the leader whose bytes are in the store.
    ///
    /// # Errors
    /// As [`RaftCore::step`].
    pub fn step_snapshot(&mut self, snapshot: ArrivedSnapshot) -> Result<(), StepError> {
        let ArrivedSnapshot { mut head, record } = snapshot;
        head.mut_snapshot().data = record.slot.to_le_bytes().to_vec();
        self.snapshots.arrived.push(record);
        self.step(head)
    }

    /// Captures the state if a snapshot is due.
    pub(super) fn start_snapshot(&mut self) {
        if self.raw.store().take_snapshot_wanted() {
            self.snapshots.wanted = true;
        }
        let (snapshots, policy) = (&self.snapshots, &self.config.snapshot);
        let long = snapshots.entries_since >= policy.entries || snapshots.bytes_since >= policy.bytes;
        // A large state isn't written again for every few changes: writing it has to pay.
        let due = snapshots.wanted || (long && snapshots.bytes_since.saturating_mul(2) >= snapshots.bytes);
        let covered = self.applied <= self.raw.store().snapshot_index();
        if !due || covered || snapshots.building || self.now < snapshots.not_before || self.installs() {
            return;
        }
        let Ok(term) = self.raw.raft.raft_log.term(self.applied) else { return };
        let at = Position { index: self.applied, term };
        self.out.job =
            Some(SnapshotJob { at, members: self.members.clone(), encode: self.machine.snapshot() });
        self.snapshots.taken(snapshots.bytes);
        self.snapshots.building = true;
    }

    /// A snapshot was made, or could not be.
    pub fn snapshot_built(&mut self, result: Result<SnapshotRecord, StoreError>) {
        self.snapshots.building = false;
        let record = match result {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(%error, "no snapshot could be written; the log keeps growing until one can");
                self.snapshots.wanted = true;
                self.snapshots.not_before = self.now + RETRY_TICKS;
                return;
            }
        };
        if record.index <= self.raw.store().snapshot_index() {
            // One from the leader has overtaken it.
            self.out.discard.push(record.slot);
            return;
        }
        self.snapshots.bytes = record.bytes;
        let policy = &self.config.snapshot;
        let tail = policy.tail_bytes.checked_div(self.snapshots.entry_bytes).unwrap_or(u64::MAX);
        let keep_from = (record.index + 1).saturating_sub(tail.min(policy.tail_entries));
        let compact = self.raw.mut_store().compact(record.clone(), keep_from);
        let batch =
            crate::raft::storage::Batch { snapshot: Some(record), compact, ..self.raw.store().batch() };
        let commit = batch.hard_state.commit;
        self.push_write(PendingWrite { commit, ..PendingWrite::default() }, batch);
    }

    /// Whether the log begins with a snapshot from the leader that the machine has not come to: on its
    /// way to the disk, or being read.
    pub(super) fn installs(&self) -> bool {
        self.pending.installs() || self.snapshots.installed.is_some()
    }

    /// Has the leader's snapshot read. Reading takes long: messages are answered meanwhile, and entries
    /// taken, but nothing is applied.
    pub(super) fn start_restore(&mut self) {
        let Some(record) = self.snapshots.installed.as_ref().filter(|_| !self.snapshots.restoring) else {
            return;
        };
        self.out.restore = Some(RestoreJob { record: record.clone(), decode: self.machine.decoder() });
        self.snapshots.restoring = true;
    }

    /// A snapshot from the leader was read, or could not be.
    ///
    /// # Errors
    /// When it could not be.
    pub fn restored(&mut self, restored: Restored<S>) -> Result<(), CoreError> {
        self.snapshots.restoring = false;
        let read = |record: &mut SnapshotRecord| record.index == restored.index;
        // Another one may have come meanwhile, and taken the place of this one on the disk.
        let Some(record) = self.snapshots.installed.take_if(read) else { return Ok(()) };
        self.machine.restore(record.index, restored.result?);
        self.applied = record.index;
        self.raw.advance_apply_to(record.index);
        self.proposals.skipped_to(record.index);
        self.snapshots.taken(record.bytes);
        self.members = record.conf_state;
        Ok(())
    }
}
