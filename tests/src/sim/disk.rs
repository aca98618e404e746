//! A controller's disk in memory. A transaction reaches it as a whole or not at all, as in the real store; what was
//! not made durable is lost with the process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use wharf_controller::raft::{
    Entry, HardState, Space, Store, StoreError,
    storage::{Batch, EncodedEntry, Loaded, Position, SnapshotRecord, SnapshotSource, decode_entry},
};

#[derive(Default)]
struct Contents {
    id: Option<u64>,
    incarnation: u64,
    hard_state: HardState,
    snapshot: Option<SnapshotRecord>,
    compacted: Position,
    entries: BTreeMap<u64, EncodedEntry>,
    chunks: BTreeMap<(u64, u32), Arc<Vec<u8>>>,
    next_slot: u64,
}

impl Contents {
    fn apply(&mut self, batch: &Batch) {
        if let Some(record) = &batch.snapshot
            && let Some(old) = self.snapshot.replace(record.clone())
        {
            self.chunks.retain(|(slot, _), _| *slot != old.slot);
        }
        if let Some(position) = batch.compact {
            self.compacted = position;
            self.entries.retain(|index, _| !batch.reset && *index > position.index);
        }
        if let Some(first) = batch.entries.first() {
            self.entries.retain(|index, _| *index < first.index);
            self.entries.extend(batch.entries.iter().map(|entry| (entry.index, entry.clone())));
        }
        self.hard_state = batch.hard_state.clone();
    }
}

/// The disk of one controller; survives its process.
#[derive(Default)]
pub struct Disk(Mutex<Contents>);

impl Disk {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process is gone: chunks that no durable transaction refers to are lost.
    pub fn crash(&self) {
        let mut contents = self.contents();
        let kept = contents.snapshot.as_ref().map_or(0, |record| record.slot);
        contents.chunks.retain(|(slot, _), _| *slot == kept);
    }

    /// The term that is durable.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.contents().hard_state.term
    }
}

impl Store for Disk {
    fn found(&self, id: u64, batch: &Batch) -> Result<(), StoreError> {
        let mut contents = self.contents();
        if let Some(owner) = contents.id {
            return Err(StoreError::NotEmpty(owner));
        }
        contents.id = Some(id);
        contents.apply(batch);
        Ok(())
    }

    fn load(&self, cache_bytes: usize) -> Result<Loaded, StoreError> {
        let mut contents = self.contents();
        let id = contents.id.ok_or(StoreError::Empty)?;
        contents.incarnation += 1;
        let (mut terms, mut tail, mut last) = (Vec::new(), Vec::new(), contents.compacted);
        for entry in contents.entries.values() {
            if entry.index != last.index + 1 || entry.term < last.term {
                return Err(StoreError::Corrupted(format!("entry {} follows {}", entry.index, last.index)));
            }
            if entry.term != last.term || terms.is_empty() {
                terms.push((entry.index, entry.term));
            }
            last = Position { index: entry.index, term: entry.term };
            tail.push(decode_entry(entry.index, &entry.bytes)?);
        }
        if contents.hard_state.commit > last.index || contents.hard_state.term < last.term {
            return Err(StoreError::Corrupted("the hard state doesn't fit the log".to_owned()));
        }
        let mut bytes = 0;
        let sizes = contents.entries.values().rev().map(|entry| entry.bytes.len());
        let cached = sizes.take_while(|size| {
            bytes += size;
            bytes <= cache_bytes
        });
        tail.drain(..tail.len() - cached.count());
        Ok(Loaded {
            id,
            incarnation: contents.incarnation,
            hard_state: contents.hard_state.clone(),
            snapshot: contents.snapshot.clone(),
            compacted: contents.compacted,
            terms,
            last_index: last.index,
            tail,
        })
    }

    fn persist(&self, batches: &[Batch]) -> Result<(), StoreError> {
        let mut contents = self.contents();
        batches.iter().for_each(|batch| contents.apply(batch));
        Ok(())
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StoreError> {
        let contents = self.contents();
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for index in low..high {
            let entry = contents.entries.get(&index).ok_or(StoreError::Missing(format!("entry {index}")))?;
            bytes += entry.bytes.len() as u64;
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(decode_entry(index, &entry.bytes)?);
        }
        Ok(entries)
    }

    fn new_slot(&self) -> u64 {
        let mut contents = self.contents();
        contents.next_slot += 1;
        contents.next_slot
    }

    fn put_chunk(&self, slot: u64, sequence: u32, data: &[u8]) -> Result<(), StoreError> {
        self.contents().chunks.insert((slot, sequence), Arc::new(data.to_vec()));
        Ok(())
    }

    fn open_snapshot(&self, slot: u64) -> Result<Box<dyn SnapshotSource>, StoreError> {
        let contents = self.contents();
        let chunks = contents.chunks.range((slot, 0)..=(slot, u32::MAX));
        Ok(Box::new(Pinned(chunks.map(|(key, chunk)| (key.1, chunk.clone())).collect())))
    }

    fn discard(&self, slot: u64) -> Result<(), StoreError> {
        self.contents().chunks.retain(|(other, _), _| *other != slot);
        Ok(())
    }

    /// A simulated disk doesn't fill up.
    fn space(&self) -> Option<Space> {
        None
    }
}

/// A snapshot that stays readable when a newer one replaces it.
struct Pinned(BTreeMap<u32, Arc<Vec<u8>>>);

impl SnapshotSource for Pinned {
    fn chunk(&self, sequence: u32) -> Result<Vec<u8>, StoreError> {
        let chunk = self.0.get(&sequence).ok_or(StoreError::Missing(format!("chunk {sequence}")))?;
        Ok(chunk.to_vec())
    }
}
