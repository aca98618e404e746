//! A log whose replica doesn't run: reading all of it, and beginning it again with one member.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use ::raft::eraftpb::{ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType, HardState};
use protobuf_for_raft::Message as _;

use super::storage::{Batch, Loaded, LogStore, Position, Store, StoreError, read_snapshot, write_snapshot};

/// What is read from the log at once.
const READ_BYTES: u64 = 4 << 20;
/// A leader that this log has not heard of has a term below the next multiple of this: nobody holds so many elections.
const STEP: u64 = 1 << 32;
/// Terms that a millisecond has, far more than there can be elections in it.
const TERMS_A_MILLISECOND: u64 = 1 << 10;
/// 2026-01-01T00:00:00Z, in milliseconds since the epoch.
const FIRST_DAY: u64 = 1_767_225_600_000;

/// A part of a log, in order.
pub enum Piece<'a> {
    /// The newest snapshot, if there is one: the first piece.
    Snapshot(&'a mut dyn Read),
    /// A command.
    Command {
        /// Its place.
        index: u64,
        /// Its encoding.
        bytes: &'a [u8],
    },
}

/// A log whose replica doesn't run.
#[derive(Debug)]
pub struct OfflineLog<'a> {
    store: &'a LogStore,
    loaded: Loaded,
}

/// The members that a log tells of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogMembers {
    /// Those that vote.
    pub voters: BTreeSet<u64>,
    /// Those that only receive the log.
    pub learners: BTreeSet<u64>,
}

impl<'a> OfflineLog<'a> {
    /// Checks a log. Nothing else may use it meanwhile, which an open [`LogStore`] makes sure of.
    ///
    /// # Errors
    /// When it is empty, damaged or can't be read.
    pub fn open(store: &'a LogStore) -> Result<Self, StoreError> {
        Ok(OfflineLog { store, loaded: store.load(0)? })
    }

    /// The replica that it belongs to.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.loaded.id
    }

    /// The newest term that its replica has heard of.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.loaded.hard_state.term
    }

    /// The last entry that its replica knew to be committed.
    #[must_use]
    pub fn commit(&self) -> u64 {
        self.loaded.hard_state.commit.max(self.loaded.compacted.index)
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.loaded.last_index
    }

    /// Shows the whole log, entries that aren't known to be committed too, and gives the members it ends with.
    ///
    /// # Errors
    /// When it can't be read, or `visit` fails.
    pub fn read<E: From<StoreError>>(
        &self,
        mut visit: impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<LogMembers, E> {
        let mut members = LogMembers::default();
        let mut next = 1;
        if let Some(record) = &self.loaded.snapshot {
            members = LogMembers::of(&record.conf_state);
            read_snapshot(self.store, record, |from| visit(Piece::Snapshot(from)))??;
            next = record.index + 1;
        }
        while next <= self.last() {
            for entry in self.store.entries(next, self.last() + 1, READ_BYTES)? {
                next = entry.index + 1;
                match entry.get_entry_type() {
                    EntryType::EntryNormal if entry.data.is_empty() => {}
                    EntryType::EntryNormal => {
                        visit(Piece::Command { index: entry.index, bytes: &entry.data })?;
                    }
                    EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => members.apply(&entry)?,
                }
            }
        }
        Ok(members)
    }

    /// Begins the log again with its replica as the only member, in `term`, with what `state` writes in the place of all
    /// entries. Afterwards it is all there, or nothing has happened.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn begin_again(
        self,
        term: u64,
        state: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Position, StoreError> {
        let at = Position { index: self.last() + 1, term };
        begin_at(self.store, self.id(), at, state)?;
        Ok(at)
    }
}

impl LogMembers {
    fn of(members: &ConfState) -> Self {
        LogMembers {
            voters: members.voters.iter().copied().collect(),
            learners: members.learners.iter().chain(&members.learners_next).copied().collect(),
        }
    }

    /// What a joint change leads to counts at once: it says whom this replica takes for members.
    fn apply(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let change = ConfChangeV2::decode(entry.data.as_slice()).map_err(|_| {
            StoreError::Corrupted(format!("entry {} is not a membership change", entry.index))
        })?;
        for single in &change.changes {
            self.voters.remove(&single.node_id);
            self.learners.remove(&single.node_id);
            match single.get_change_type() {
                ConfChangeType::AddNode => self.voters.insert(single.node_id),
                ConfChangeType::AddLearnerNode => self.learners.insert(single.node_id),
                ConfChangeType::RemoveNode => true,
            };
        }
        Ok(())
    }
}

/// Makes a store the log of replica `id`, which is the only member and begins with what `state` writes, at `at`.
/// Whatever the store held before is gone. Afterwards it is all there, or nothing has happened.
///
/// # Errors
/// When it can't be written.
pub fn begin_at(
    store: &LogStore,
    id: u64,
    at: Position,
    state: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), StoreError> {
    let alone = ConfState { voters: vec![id], ..ConfState::default() };
    let record = write_snapshot(store, at, alone, state)?;
    let batch = Batch {
        hard_state: HardState { term: at.term, commit: at.index, ..HardState::default() },
        snapshot: Some(record),
        compact: Some(at),
        reset: true,
        entries: Vec::new(),
    };
    store.replace(id, &batch)
}

/// A term that nobody can have reached who had `term` or a later one, whatever happened since: beyond a large step, and
/// beyond what the time that has passed could have used up. `now` is in milliseconds since the epoch.
#[must_use]
pub fn term_beyond(term: u64, now: u64) -> u64 {
    let beyond = (term / STEP + 1).saturating_mul(STEP);
    beyond.max(now.saturating_sub(FIRST_DAY).saturating_mul(TERMS_A_MILLISECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_go_far_beyond_those_that_were() {
        assert_eq!(term_beyond(7, 0), STEP);
        assert_eq!(term_beyond(STEP, 0), 2 * STEP);
        let day = 24 * 3600 * 1000;
        let (first, second) = (term_beyond(7, FIRST_DAY + day), term_beyond(7, FIRST_DAY + day + 1));
        assert!(first > STEP && second > first + 1000);
        assert!(term_beyond(first, FIRST_DAY) > first);
        assert!(term_beyond(u64::MAX, u64::MAX) > 0);
    }
}
