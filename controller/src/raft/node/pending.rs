//! Writes handed out and not yet durable, with what waits for each.

use std::collections::VecDeque;

use ::raft::eraftpb::Message;

use crate::raft::storage::SnapshotRecord;

/// One write under way.
#[derive(Debug, Default)]
pub(super) struct PendingWrite {
    pub(super) id: u64,
    /// raft's number for the newest step that it covers.
    pub(super) ready: Option<u64>,
    /// The commit index that it makes durable.
    pub(super) commit: u64,
    /// Whether it makes a new term or vote durable.
    pub(super) new_term: bool,
    /// The first entry in it.
    pub(super) first_entry: Option<u64>,
    /// The snapshot from the leader that it installs.
    pub(super) install: Option<SnapshotRecord>,
    /// Messages that may be sent once it is durable.
    pub(super) messages: Vec<Message>,
}

/// The queue of writes under way.
#[derive(Debug)]
pub(super) struct PendingWrites {
    queue: VecDeque<PendingWrite>,
    next_id: u64,
    durable_commit: u64,
    requested_commit: u64,
}

impl PendingWrites {
    pub(super) fn new(durable_commit: u64) -> Self {
        Self { queue: VecDeque::new(), next_id: 1, durable_commit, requested_commit: durable_commit }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn push(&mut self, write: PendingWrite) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.requested_commit = self.requested_commit.max(write.commit);
        self.queue.push_back(PendingWrite { id, ..write });
        id
    }

    /// The newest write under way.
    pub(super) fn last(&mut self) -> Option<&mut PendingWrite> {
        self.queue.back_mut()
    }

    /// Takes the oldest write out if it is covered by `id`.
    pub(super) fn finish(&mut self, id: u64) -> Option<PendingWrite> {
        if self.queue.front()?.id > id {
            return None;
        }
        let write = self.queue.pop_front()?;
        self.durable_commit = self.durable_commit.max(write.commit);
        Some(write)
    }

    /// Whether a term or vote is on its way to the disk.
    pub(super) fn has_new_term(&self) -> bool {
        self.queue.iter().any(|write| write.new_term)
    }

    /// Whether a snapshot from the leader is on its way to the disk.
    pub(super) fn installs(&self) -> bool {
        self.queue.iter().any(|write| write.install.is_some())
    }

    /// The lowest index of which some version is on its way to the disk.
    pub(super) fn undurable(&self) -> u64 {
        self.queue.iter().filter_map(|write| write.first_entry).min().unwrap_or(u64::MAX)
    }

    /// The commit index that a restart would surely find.
    pub(super) fn durable_commit(&self) -> u64 {
        self.durable_commit
    }

    /// The commit index that a restart would find when everything under way is written.
    pub(super) fn requested_commit(&self) -> u64 {
        self.requested_commit
    }
}
