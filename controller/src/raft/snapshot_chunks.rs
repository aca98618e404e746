//! Snapshots between replicas: cut into chunks that are read from the sender's disk and written to
//! the receiver's one at a time, so that neither holds a whole snapshot in memory for it.
//!
//! A chunk is `version u8, transfer u64, sequence u32, last u8, crc32 u32` (little endian), then its
//! bytes. Sequence 0 carries raft's announcing message; the snapshot's own chunks follow from 1.

use std::collections::HashMap;
use std::sync::Arc;

use ::raft::eraftpb::Message;
use bytes::Bytes;
use parking_lot::Mutex;

use super::message::{self, MessageError};
use super::storage::{SnapshotRecord, SnapshotSource, Store, StoreError};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 18;

/// The largest chunk that is taken from a peer; earlier versions send larger ones than this one.
const MAX_CHUNK_BYTES: usize = 256 << 10;
/// The largest snapshot that is taken from a peer.
pub const MAX_SNAPSHOT_BYTES: u64 = 16 << 30;

/// Why a chunk can't be taken. The transfer has failed; the sender has to be told, and starts over.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// Not a chunk, or a damaged one.
    #[error("malformed snapshot chunk: {0}")]
    Malformed(&'static str),
    /// The announcing message is not acceptable.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The chunk is not the next one of its transfer.
    #[error("snapshot chunk {found} came where {expected} was expected")]
    OutOfOrder {
        /// The chunk that came.
        found: u32,
        /// The chunk that should have come.
        expected: u32,
    },
    /// The snapshot is larger than accepted.
    #[error("the snapshot is larger than {MAX_SNAPSHOT_BYTES} bytes")]
    TooLarge,
    /// It can't be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A snapshot on its way to a peer: hand [`OutgoingSnapshot::next_chunk`]'s chunks over one by one,
/// then call [`OutgoingSnapshot::delivered`]. Dropped before that, it counts as failed.
pub struct OutgoingSnapshot {
    head: Message,
    record: SnapshotRecord,
    source: Box<dyn SnapshotSource>,
    transfer: u64,
    next: u32,
    report: Option<Box<dyn FnOnce(bool) + Send>>,
}

impl OutgoingSnapshot {
    /// A snapshot read from `source`, announced by `head`; `report` learns whether it arrived.
    pub fn new(
        head: Message,
        record: SnapshotRecord,
        source: Box<dyn SnapshotSource>,
        transfer: u64,
        report: Box<dyn FnOnce(bool) + Send>,
    ) -> Self {
        Self { head, record, source, transfer, next: 0, report: Some(report) }
    }

    /// The receiver.
    #[must_use]
    pub fn to(&self) -> u64 {
        self.head.to
    }

    /// The snapshot's bytes in all, for progress.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.record.bytes
    }

    /// The next chunk, or `None` after the last. Reads at most 256 KiB from disk.
    ///
    /// # Errors
    /// When the snapshot can't be read.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, StoreError> {
        if self.next > self.record.chunks {
            return Ok(None);
        }
        let payload = match self.next.checked_sub(1) {
            None => message::encode(&self.head),
            Some(sequence) => self.source.chunk(sequence)?,
        };
        let last = self.next == self.record.chunks;
        let chunk = encode_chunk(self.transfer, self.next, last, &payload);
        self.next += 1;
        Ok(Some(chunk))
    }

    /// The receiver has confirmed the last chunk.
    pub fn delivered(mut self) {
        if let Some(report) = self.report.take() {
            report(true);
        }
    }
}

impl Drop for OutgoingSnapshot {
    fn drop(&mut self) {
        if let Some(report) = self.report.take() {
            report(false);
        }
    }
}

fn encode_chunk(transfer: u64, sequence: u32, last: bool, payload: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.push(VERSION);
    bytes.extend_from_slice(&transfer.to_le_bytes());
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.push(u8::from(last));
    bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes.into()
}

struct Chunk<'a> {
    transfer: u64,
    sequence: u32,
    last: bool,
    payload: &'a [u8],
}

fn decode_chunk(bytes: &[u8]) -> Result<Chunk<'_>, ChunkError> {
    let short = ChunkError::Malformed("it is too short");
    let (head, payload) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(short)?;
    let number = |from: usize, len: usize| {
        head[from..from + len].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    if head[0] != VERSION {
        return Err(ChunkError::Malformed("it has a format that this version doesn't know"));
    }
    if payload.len() > MAX_CHUNK_BYTES {
        return Err(ChunkError::Malformed("it is too long"));
    }
    if number(14, 4) != u64::from(crc32fast::hash(payload)) {
        return Err(ChunkError::Malformed("it fails its checksum"));
    }
    let last = match head[13] {
        0 => false,
        1 => true,
        _ => return Err(ChunkError::Malformed("its end mark is neither 0 nor 1")),
    };
    #[allow(clippy::cast_possible_truncation)] // four bytes were read
    let sequence = number(9, 4) as u32;
    Ok(Chunk { transfer: number(1, 8), sequence, last, payload })
}

/// A snapshot that has arrived as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrivedSnapshot {
    /// Raft's announcing message.
    pub head: Message,
    /// Where its bytes are.
    pub record: SnapshotRecord,
}

struct Incoming {
    head: Message,
    record: SnapshotRecord,
    transfer: u64,
    expected: u32,
}

/// Puts snapshots from peers together, one at a time for each peer.
pub struct SnapshotInbox<D> {
    store: Arc<D>,
    peers: Mutex<HashMap<u64, Arc<Mutex<Option<Incoming>>>>>,
}

impl<D: Store> SnapshotInbox<D> {
    /// An inbox that keeps the bytes in `store`.
    pub fn new(store: Arc<D>) -> Self {
        Self { store, peers: Mutex::default() }
    }

    /// Takes one chunk from a peer whose identity was proved; the last completes the snapshot. Blocks
    /// for the disk.
    ///
    /// # Errors
    /// When the chunk is damaged, not the expected one, or can't be stored; the transfer is given up.
    pub fn accept(&self, from: u64, bytes: &[u8]) -> Result<Option<ArrivedSnapshot>, ChunkError> {
        let peer = self.peers.lock().entry(from).or_default().clone();
        let mut slot = peer.lock();
        let result = self.accept_in(&mut slot, from, bytes);
        if result.is_err() {
            self.give_up(slot.take());
        }
        result
    }

    fn accept_in(
        &self,
        slot: &mut Option<Incoming>,
        from: u64,
        bytes: &[u8],
    ) -> Result<Option<ArrivedSnapshot>, ChunkError> {
        let chunk = decode_chunk(bytes)?;
        if chunk.sequence == 0 {
            self.give_up(slot.take());
            let head = message::decode_snapshot_head(chunk.payload)?;
            if head.from != from {
                return Err(MessageError::Inconsistent("its sender is not the one who sent it").into());
            }
            let metadata = head.get_snapshot().get_metadata();
            let record = SnapshotRecord {
                slot: self.store.new_slot(),
                index: metadata.index,
                term: metadata.term,
                conf_state: metadata.get_conf_state().clone(),
                chunks: 0,
                bytes: 0,
            };
            *slot = Some(Incoming { head, record, transfer: chunk.transfer, expected: 1 });
        } else {
            let found = chunk.sequence;
            let incoming = slot
                .as_mut()
                .filter(|incoming| incoming.transfer == chunk.transfer)
                .ok_or(ChunkError::OutOfOrder { found, expected: 0 })?;
            if incoming.expected != found {
                return Err(ChunkError::OutOfOrder { found, expected: incoming.expected });
            }
            let record = &mut incoming.record;
            record.bytes += chunk.payload.len() as u64;
            if record.bytes > MAX_SNAPSHOT_BYTES {
                return Err(ChunkError::TooLarge);
            }
            self.store.put_chunk(record.slot, record.chunks, chunk.payload)?;
            record.chunks += 1;
            incoming.expected += 1;
        }
        let done = if chunk.last { slot.take() } else { None };
        Ok(done.map(|incoming| ArrivedSnapshot { head: incoming.head, record: incoming.record }))
    }

    fn give_up(&self, incoming: Option<Incoming>) {
        let Some(incoming) = incoming else { return };
        if let Err(error) = self.store.discard(incoming.record.slot) {
            tracing::warn!(%error, "can't drop an unfinished snapshot; it goes at the next start");
        }
    }
}
