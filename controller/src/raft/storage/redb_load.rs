//! Reading a log back at start, with every checksum and the order of entries checked.

use std::collections::VecDeque;

use redb::ReadableTable;

use super::redb_store::{COMPACTED, HARD_STATE, ID, SNAPSHOT, database};
use super::{Loaded, Position, SnapshotRecord, StoreError, TermRuns, codec};

fn record(
    records: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(value) = records.get(name).map_err(database)? else { return Ok(None) };
    codec::decode_record(name, value.value()).map(|payload| Some(payload.to_vec()))
}

/// A record that is a number.
pub(super) fn number(
    records: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<u64>, StoreError> {
    let Some(payload) = record(records, name)? else { return Ok(None) };
    let bytes = payload.as_slice().try_into();
    let bytes = bytes.map_err(|_| StoreError::Corrupted(format!("the record `{name}` is not a number")))?;
    Ok(Some(u64::from_le_bytes(bytes)))
}

/// The record of the newest snapshot.
pub(super) fn snapshot(
    records: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Option<SnapshotRecord>, StoreError> {
    record(records, SNAPSHOT)?.map(|payload| codec::decode_snapshot(&payload)).transpose()
}

/// Everything but the incarnation.
pub(super) fn load(
    records: &impl ReadableTable<&'static str, &'static [u8]>,
    entries: &impl ReadableTable<u64, &'static [u8]>,
    cache_bytes: usize,
) -> Result<Loaded, StoreError> {
    let id = number(records, ID)?.ok_or(StoreError::Empty)?;
    let hard_state = record(records, HARD_STATE)?.ok_or_else(|| damaged("the hard state is missing"))?;
    let hard_state = codec::decode_hard_state(&hard_state)?;
    let snapshot = snapshot(records)?;
    let compacted = record(records, COMPACTED)?
        .map(|payload| codec::decode_position(&payload))
        .transpose()?
        .unwrap_or_default();

    let mut log = Scan::new(compacted, cache_bytes);
    for row in entries.iter().map_err(database)? {
        let (index, value) = row.map_err(database)?;
        log.push(index.value(), value.value())?;
    }
    let covered = snapshot.as_ref().map_or(0, |record| record.index);
    if covered < compacted.index {
        return Err(damaged("the log starts after the snapshot ends"));
    }
    if covered > log.last.index {
        return Err(damaged("the log ends before the snapshot does"));
    }
    if hard_state.commit > log.last.index {
        return Err(damaged("committed entries are missing"));
    }
    if hard_state.term < log.last.term {
        return Err(damaged("an entry is newer than the last known term"));
    }
    Ok(Loaded {
        id,
        incarnation: 0,
        hard_state,
        snapshot,
        compacted,
        terms: log.terms.iter().collect(),
        last_index: log.last.index,
        tail: log.tail.into_iter().map(|(entry, _)| entry).collect(),
    })
}

struct Scan {
    last: Position,
    terms: TermRuns,
    tail: VecDeque<(::raft::eraftpb::Entry, usize)>,
    tail_bytes: usize,
    cache_bytes: usize,
}

impl Scan {
    fn new(start: Position, cache_bytes: usize) -> Self {
        Self { last: start, terms: TermRuns::default(), tail: VecDeque::new(), tail_bytes: 0, cache_bytes }
    }

    fn push(&mut self, index: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let entry = codec::decode_entry(index, bytes)?;
        if index != self.last.index + 1 {
            return Err(damaged(&format!("entry {} is missing", self.last.index + 1)));
        }
        if entry.term < self.last.term {
            return Err(damaged(&format!("entry {index} has an older term than the one before it")));
        }
        self.last = Position { index, term: entry.term };
        self.terms.push(index, entry.term);
        self.tail_bytes += bytes.len();
        self.tail.push_back((entry, bytes.len()));
        while self.tail_bytes > self.cache_bytes {
            let Some((_, size)) = self.tail.pop_front() else { break };
            self.tail_bytes -= size;
        }
        Ok(())
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError::Corrupted(what.to_owned())
}
