//! Applying what is committed.

use std::collections::VecDeque;

use ::raft::eraftpb::{ConfChangeV2, Entry, EntryType};
use protobuf_for_raft::Message as _;

use super::pending::PendingWrite;
use super::proposals::Waiter;
use super::{CoreError, ProposeReply, RaftCore};
use crate::raft::reply::{Applied, ChangeError, Members, Reply};
use crate::raft::state_machine::StateMachine;
use crate::raft::storage::Store;

/// Bytes of entries applied before the host has its turn: a long backlog must not keep it from messages.
const MAX_ROUND_BYTES: usize = 512 << 10;
/// What an entry counts besides its data.
const ENTRY_BYTES: usize = 64;

/// An answer that waits until what it tells is published.
pub(super) enum Answer<T> {
    Command(ProposeReply<T>, Applied<T>),
    Change(Reply<Result<Members, ChangeError>>, Result<Members, ChangeError>),
}

/// Committed entries that wait to be applied, and the answers to those that were.
pub(super) struct ApplyQueue<T> {
    entries: VecDeque<Entry>,
    answers: Vec<Answer<T>>,
    /// The round ended before the entries did.
    more: bool,
}

impl<T> Default for ApplyQueue<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), answers: Vec::new(), more: false }
    }
}

impl<T> ApplyQueue<T> {
    pub(super) fn extend(&mut self, committed: Vec<Entry>) {
        self.entries.extend(committed);
    }

    /// Forgets entries that a snapshot covers.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(super) fn answer_later(&mut self, answer: Answer<T>) {
        self.answers.push(answer);
    }

    /// Answers everybody whose entry was applied.
    pub(super) fn answer(&mut self) {
        for answer in self.answers.drain(..) {
            match answer {
                Answer::Command(reply, applied) => reply(Ok(applied)),
                Answer::Change(reply, result) => reply(result),
            }
        }
    }
}

impl<S: StateMachine, D: Store> RaftCore<S, D> {
    /// Whether there are entries that [`RaftCore::poll`] would apply at once.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        self.queue.more
    }

    /// Applies committed entries up to the first membership change that has to wait for the disk, or as
    /// many as make a round.
    pub(super) fn apply_committed(&mut self) -> Result<(), CoreError> {
        self.queue.more = false;
        if self.installs() {
            return Ok(());
        }
        let mut bytes = 0;
        while let Some(entry) = self.queue.entries.front() {
            if bytes >= MAX_ROUND_BYTES {
                self.queue.more = true;
                break;
            }
            bytes += ENTRY_BYTES + entry.data.len();
            let index = entry.index;
            let changes_members = entry.entry_type != EntryType::EntryNormal as i32;
            if changes_members && index > self.pending.durable_commit() {
                if index > self.pending.requested_commit() {
                    let batch = self.raw.store().batch();
                    let commit = batch.hard_state.commit;
                    self.push_write(PendingWrite { commit, ..PendingWrite::default() }, batch);
                }
                break;
            }
            let Some(entry) = self.queue.entries.pop_front() else { break };
            self.snapshots.count(&entry);
            self.apply(&entry)?;
            self.applied = index;
        }
        if self.raw.raft.raft_log.applied < self.applied {
            self.raw.advance_apply_to(self.applied);
        }
        Ok(())
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), CoreError> {
        let (index, term) = (entry.index, entry.term);
        let waiter = self.proposals.take(index, term);
        match entry.get_entry_type() {
            EntryType::EntryNormal if entry.data.is_empty() => {
                // raft puts an empty entry in a membership change's place when it can't have it now.
                if let Some(Waiter::Change(reply)) = waiter {
                    reply(Err(ChangeError::InProgress));
                }
                return Ok(());
            }
            EntryType::EntryNormal => {
                let output = self
                    .machine
                    .apply(index, term, &entry.data)
                    .map_err(|error| CoreError::Entry { index, reason: error.to_string() })?;
                if let Some(Waiter::Command(reply)) = waiter {
                    self.queue.answer_later(Answer::Command(reply, Applied { index, term, output }));
                }
                return Ok(());
            }
            EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {}
        }
        let result = self.apply_change(index, &decode_change(entry)?);
        if let Some(Waiter::Change(reply)) = waiter {
            self.queue.answer_later(Answer::Change(reply, result));
        }
        Ok(())
    }
}

fn decode_change(entry: &Entry) -> Result<ConfChangeV2, CoreError> {
    let error = |reason: String| CoreError::Entry { index: entry.index, reason };
    if entry.get_entry_type() == EntryType::EntryConfChange {
        return Err(error("it is a membership change of a kind that is never written".to_owned()));
    }
    ConfChangeV2::decode(entry.data.as_slice()).map_err(|source| error(source.to_string()))
}
