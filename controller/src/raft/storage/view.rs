//! The log as raft sees it: the newest entries in memory, older ones on disk, and everything staged
//! counted as present, whether the disk has it already or not.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use ::raft::eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};
use ::raft::{Error, GetEntriesContext, RaftState, StorageError};
use protobuf_for_raft::Message as _;

use super::{Batch, Loaded, Position, SnapshotRecord, Store, StoreError, TermRuns};

/// A replica's log. Owned by one thread.
pub(crate) struct LogView<D> {
    store: Arc<D>,
    hard_state: HardState,
    start_conf_state: ConfState,
    snapshot: Option<SnapshotRecord>,
    compacted: Position,
    last_index: u64,
    terms: TermRuns,
    cache: VecDeque<Entry>,
    cached_bytes: usize,
    cache_limit: usize,
    snapshot_wanted: Cell<bool>,
    /// Why the store could not be read.
    failure: RefCell<Option<StoreError>>,
}

impl<D: Store> LogView<D> {
    pub(crate) fn new(store: Arc<D>, loaded: Loaded, cache_limit: usize) -> Self {
        let start_conf_state =
            loaded.snapshot.as_ref().map(|record| record.conf_state.clone()).unwrap_or_default();
        let mut hard_state = loaded.hard_state;
        hard_state.commit = hard_state.commit.max(loaded.compacted.index);
        Self {
            store,
            hard_state,
            start_conf_state,
            snapshot: loaded.snapshot,
            compacted: loaded.compacted,
            last_index: loaded.last_index,
            terms: TermRuns::new(loaded.terms),
            cached_bytes: loaded.tail.iter().map(Entry::encoded_len).sum(),
            cache: loaded.tail.into(),
            cache_limit,
            snapshot_wanted: Cell::new(false),
            failure: RefCell::default(),
        }
    }

    pub(crate) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    pub(crate) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    pub(crate) fn snapshot_record(&self) -> Option<&SnapshotRecord> {
        self.snapshot.as_ref()
    }

    pub(crate) fn snapshot_index(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |record| record.index)
    }

    /// Why the store could not be read, if that happened: what raft was told since is not to be relied on.
    pub(crate) fn take_failure(&self) -> Option<StoreError> {
        self.failure.take()
    }

    /// Whether raft asked for a snapshot that isn't there; the question resets the answer.
    pub(crate) fn take_snapshot_wanted(&self) -> bool {
        self.snapshot_wanted.take()
    }

    /// A batch with nothing but the present hard state.
    pub(crate) fn batch(&self) -> Batch {
        Batch { hard_state: self.hard_state.clone(), ..Batch::default() }
    }

    /// Appends entries, dropping what they replace.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first().map(|entry| entry.index) else { return };
        self.terms.truncate(first);
        while self.cache.back().is_some_and(|entry| entry.index >= first) {
            self.pop(VecDeque::pop_back);
        }
        for entry in entries {
            self.terms.push(entry.index, entry.term);
            self.last_index = entry.index;
            self.cached_bytes += entry.encoded_len();
            self.cache.push_back(entry);
        }
    }

    /// Starts the log anew after a snapshot that came from the leader.
    pub(crate) fn install(&mut self, record: SnapshotRecord) {
        self.cache.clear();
        self.cached_bytes = 0;
        self.terms.clear();
        self.compacted = Position { index: record.index, term: record.term };
        self.last_index = record.index;
        self.snapshot = Some(record);
    }

    /// Takes over a snapshot made here and drops the log up to `keep_from` - 1, or less if the log
    /// starts later. Returns the new start if it moved.
    pub(crate) fn compact(&mut self, record: SnapshotRecord, keep_from: u64) -> Option<Position> {
        debug_assert!(record.index <= self.last_index);
        self.snapshot = Some(record);
        let index = keep_from.saturating_sub(1);
        if index <= self.compacted.index {
            return None;
        }
        let term = self.terms.get(index)?;
        self.compacted = Position { index, term };
        self.terms.compact(index);
        while self.cache.front().is_some_and(|entry| entry.index <= index) {
            self.pop(VecDeque::pop_front);
        }
        Some(self.compacted)
    }

    /// Lets go of cached entries over the limit that the disk has: those before `undurable`.
    pub(crate) fn evict(&mut self, undurable: u64) {
        while self.cached_bytes > self.cache_limit
            && self.cache.front().is_some_and(|entry| entry.index < undurable)
        {
            self.pop(VecDeque::pop_front);
        }
    }

    fn pop(&mut self, end: impl FnOnce(&mut VecDeque<Entry>) -> Option<Entry>) {
        if let Some(entry) = end(&mut self.cache) {
            self.cached_bytes -= entry.encoded_len();
        }
    }

    /// The first cached index, or the one after the last when nothing is cached.
    fn cache_start(&self) -> u64 {
        self.cache.front().map_or(self.last_index + 1, |entry| entry.index)
    }
}

impl<D: Store> ::raft::Storage for LogView<D> {
    fn initial_state(&self) -> ::raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.start_conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> ::raft::Result<Vec<Entry>> {
        if low <= self.compacted.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last_index + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let limit = max_size.into().unwrap_or(u64::MAX);
        let cache_start = self.cache_start();
        let mut entries = Vec::new();
        let mut bytes = 0;
        if low < cache_start {
            let until = high.min(cache_start);
            entries = match self.store.entries(low, until, limit) {
                Ok(entries) => entries,
                Err(error) => {
                    self.failure.borrow_mut().get_or_insert(error);
                    // raft would panic on an error where it can't wait for the entries.
                    let nothing = if context.can_async() {
                        Err(Error::Store(StorageError::LogTemporarilyUnavailable))
                    } else {
                        Ok(Vec::new())
                    };
                    return nothing;
                }
            };
            if (entries.len() as u64) < until - low {
                return Ok(entries);
            }
            bytes = entries.iter().map(|entry| entry.encoded_len() as u64).sum();
        }
        for index in low.max(cache_start)..high {
            let entry = &self.cache[(index - cache_start) as usize];
            bytes += entry.encoded_len() as u64;
            if bytes > limit && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> ::raft::Result<u64> {
        if index == self.compacted.index {
            return Ok(self.compacted.term);
        }
        if index < self.compacted.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        if index > self.last_index {
            return Err(Error::Store(StorageError::Unavailable));
        }
        self.terms.get(index).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> ::raft::Result<u64> {
        Ok(self.compacted.index + 1)
    }

    fn last_index(&self) -> ::raft::Result<u64> {
        Ok(self.last_index)
    }

    /// The snapshot's place in the log; its bytes stay on disk, `data` names their slot.
    fn snapshot(&self, request_index: u64, to: u64) -> ::raft::Result<Snapshot> {
        let fits = |record: &&SnapshotRecord| {
            let members = &record.conf_state;
            // A receiver ignores a snapshot of a cluster that it isn't part of.
            record.index >= request_index
                && [&members.voters, &members.learners, &members.voters_outgoing]
                    .iter()
                    .any(|set| set.contains(&to))
        };
        let Some(record) = self.snapshot.as_ref().filter(fits) else {
            self.snapshot_wanted.set(true);
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        };
        Ok(Snapshot {
            data: record.slot.to_le_bytes().to_vec(),
            metadata: Some(SnapshotMetadata {
                conf_state: Some(record.conf_state.clone()),
                index: record.index,
                term: record.term,
            }),
        })
    }
}
