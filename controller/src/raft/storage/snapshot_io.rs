//! Writing a snapshot into a store and reading it back, one chunk in memory at a time.

use std::io::{self, Read, Write};

use ::raft::eraftpb::ConfState;

use super::{CHUNK_BYTES, Position, SnapshotRecord, SnapshotSource, Store, StoreError};

/// Writes what `encode` gives as chunks into a new slot and describes it.
///
/// # Errors
/// When it can't be encoded or a chunk can't be written; the slot is discarded then.
pub fn write_snapshot(
    store: &dyn Store,
    at: Position,
    conf_state: ConfState,
    encode: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<SnapshotRecord, StoreError> {
    let slot = store.new_slot();
    let mut writer = ChunkWriter { store, slot, chunks: 0, bytes: 0, buffer: Vec::new(), failure: None };
    match encode(&mut writer).and_then(|()| writer.put()) {
        Ok(()) => {
            let ChunkWriter { chunks, bytes, .. } = writer;
            Ok(SnapshotRecord { slot, index: at.index, term: at.term, conf_state, chunks, bytes })
        }
        Err(error) => {
            // What is left of the slot goes at the next start, if not now.
            let _ = store.discard(slot);
            Err(writer.failure.unwrap_or(StoreError::Encode(error)))
        }
    }
}

struct ChunkWriter<'a> {
    store: &'a dyn Store,
    slot: u64,
    chunks: u32,
    bytes: u64,
    buffer: Vec<u8>,
    failure: Option<StoreError>,
}

impl ChunkWriter<'_> {
    /// Stores what is buffered.
    fn put(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.store.put_chunk(self.slot, self.chunks, &self.buffer) {
            self.failure = Some(error);
            return Err(io::Error::other("the store can't be written"));
        }
        self.chunks += 1;
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for ChunkWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == CHUNK_BYTES {
            self.put()?;
        }
        self.buffer.reserve_exact(CHUNK_BYTES - self.buffer.len());
        let taken = bytes.len().min(CHUNK_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Nothing is stored before a chunk is full, or the snapshot complete.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lets `decode` read a snapshot, and returns what it makes of it.
///
/// # Errors
/// When a chunk is missing or damaged, or the length is not the recorded one.
pub fn read_snapshot<T>(
    store: &dyn Store,
    record: &SnapshotRecord,
    decode: impl FnOnce(&mut dyn Read) -> T,
) -> Result<T, StoreError> {
    let source = store.open_snapshot(record.slot)?;
    let mut reader =
        ChunkReader { source, record, next: 0, bytes: 0, chunk: Vec::new(), read: 0, failure: None };
    let decoded = decode(&mut reader);
    match reader.failure {
        Some(error) => Err(error),
        None => Ok(decoded),
    }
}

struct ChunkReader<'a> {
    source: Box<dyn SnapshotSource>,
    record: &'a SnapshotRecord,
    next: u32,
    bytes: u64,
    chunk: Vec<u8>,
    /// How much of the chunk was read.
    read: usize,
    failure: Option<StoreError>,
}

impl ChunkReader<'_> {
    fn fetch(&mut self) -> Result<(), StoreError> {
        self.chunk = self.source.chunk(self.next)?;
        self.read = 0;
        self.next += 1;
        self.bytes += self.chunk.len() as u64;
        let complete = self.next == self.record.chunks;
        if self.bytes > self.record.bytes || (complete && self.bytes < self.record.bytes) {
            return Err(StoreError::Corrupted(format!(
                "the snapshot at index {} has not the {} bytes that it had",
                self.record.index, self.record.bytes
            )));
        }
        Ok(())
    }
}

impl Read for ChunkReader<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.read == self.chunk.len() && self.next < self.record.chunks {
            if let Err(error) = self.fetch() {
                self.failure = Some(error);
                return Err(io::Error::other("the store can't be read"));
            }
        }
        let rest = &self.chunk[self.read..];
        let taken = rest.len().min(to.len());
        to[..taken].copy_from_slice(&rest[..taken]);
        self.read += taken;
        Ok(taken)
    }
}
