//! A disk in memory that loses what was not persisted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use wharf_controller::raft::storage::{
    Batch, EncodedEntry, Loaded, Position, SnapshotRecord, SnapshotSource, decode_entry,
};
use wharf_controller::raft::{Entry, HardState, Space, Store, StoreError};

type Chunks = BTreeMap<(u64, u32), Arc<Vec<u8>>>;

#[derive(Default)]
struct Disk {
    id: Option<u64>,
    incarnation: u64,
    hard_state: HardState,
    snapshot: Option<SnapshotRecord>,
    compacted: Position,
    entries: BTreeMap<u64, EncodedEntry>,
    chunks: Chunks,
    next_slot: u64,
}

impl Disk {
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

/// The disk of one simulated replica; survives its crashes.
#[derive(Default)]
pub struct MemStore(Mutex<Disk>);

impl MemStore {
    /// Power loss: chunks that no persisted batch refers to are gone.
    pub fn crash(&self) {
        let mut disk = self.0.lock().unwrap();
        let kept = disk.snapshot.as_ref().map_or(0, |record| record.slot);
        disk.chunks.retain(|(slot, _), _| *slot == kept);
    }

    /// How many entries the log holds.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap().entries.len()
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Option<SnapshotRecord> {
        self.0.lock().unwrap().snapshot.clone()
    }

    /// How many snapshots have chunks here.
    pub fn slots(&self) -> usize {
        let disk = self.0.lock().unwrap();
        disk.chunks.keys().map(|(slot, _)| slot).collect::<std::collections::BTreeSet<_>>().len()
    }
}

impl Store for MemStore {
    fn found(&self, id: u64, batch: &Batch) -> Result<(), StoreError> {
        let mut disk = self.0.lock().unwrap();
        if let Some(owner) = disk.id {
            return Err(StoreError::NotEmpty(owner));
        }
        disk.id = Some(id);
        disk.apply(batch);
        Ok(())
    }

    fn load(&self, cache_bytes: usize) -> Result<Loaded, StoreError> {
        let mut disk = self.0.lock().unwrap();
        let id = disk.id.ok_or(StoreError::Empty)?;
        disk.incarnation += 1;
        let (mut terms, mut tail, mut last) = (Vec::new(), Vec::new(), disk.compacted);
        for entry in disk.entries.values() {
            assert_eq!(entry.index, last.index + 1, "the log has a gap");
            assert!(entry.term >= last.term, "terms go backwards");
            if entry.term != last.term || terms.is_empty() {
                terms.push((entry.index, entry.term));
            }
            last = Position { index: entry.index, term: entry.term };
            tail.push(decode_entry(entry.index, &entry.bytes)?);
        }
        assert!(disk.hard_state.commit <= last.index, "committed entries are missing");
        assert!(disk.hard_state.term >= last.term, "an entry is newer than the term");
        let mut bytes = 0;
        let sizes = disk.entries.values().rev().map(|entry| entry.bytes.len());
        let cached = sizes.take_while(|size| {
            bytes += size;
            bytes <= cache_bytes
        });
        tail.drain(..tail.len() - cached.count());
        Ok(Loaded {
            id,
            incarnation: disk.incarnation,
            hard_state: disk.hard_state.clone(),
            snapshot: disk.snapshot.clone(),
            compacted: disk.compacted,
            terms,
            last_index: last.index,
            tail,
        })
    }

    fn persist(&self, batches: &[Batch]) -> Result<(), StoreError> {
        let mut disk = self.0.lock().unwrap();
        for batch in batches {
            disk.apply(batch);
        }
        Ok(())
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StoreError> {
        let disk = self.0.lock().unwrap();
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for index in low..high {
            let entry = disk.entries.get(&index).ok_or(StoreError::Missing(format!("entry {index}")))?;
            bytes += entry.bytes.len() as u64;
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(decode_entry(index, &entry.bytes)?);
        }
        Ok(entries)
    }

    fn new_slot(&self) -> u64 {
        let mut disk = self.0.lock().unwrap();
        disk.next_slot += 1;
        disk.next_slot
    }

    fn put_chunk(&self, slot: u64, sequence: u32, data: &[u8]) -> Result<(), StoreError> {
        self.0.lock().unwrap().chunks.insert((slot, sequence), Arc::new(data.to_vec()));
        Ok(())
    }

    fn open_snapshot(&self, slot: u64) -> Result<Box<dyn SnapshotSource>, StoreError> {
        let disk = self.0.lock().unwrap();
        let chunks = disk.chunks.range((slot, 0)..=(slot, u32::MAX));
        Ok(Box::new(Pinned(chunks.map(|(key, chunk)| (key.1, chunk.clone())).collect())))
    }

    fn discard(&self, slot: u64) -> Result<(), StoreError> {
        self.0.lock().unwrap().chunks.retain(|(other, _), _| *other != slot);
        Ok(())
    }

    fn space(&self) -> Option<Space> {
        None
    }
}

struct Pinned(BTreeMap<u32, Arc<Vec<u8>>>);

impl SnapshotSource for Pinned {
    fn chunk(&self, sequence: u32) -> Result<Vec<u8>, StoreError> {
        let chunk = self.0.get(&sequence).ok_or(StoreError::Missing(format!("chunk {sequence}")))?;
        Ok(chunk.to_vec())
    }
}
