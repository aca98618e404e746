//! How log entries, snapshot chunks and records look on disk: a CRC-32 over key and contents, then
//! the contents.

use ::raft::eraftpb::{ConfState, Entry, EntryType, HardState};
use protobuf_for_raft::Message as _;

use super::{Position, SnapshotRecord, StoreError};

/// An entry as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedEntry {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Checksum and encoding.
    pub bytes: Vec<u8>,
}

fn sealed(key: &[u8], payload_len: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + payload_len);
    bytes.extend_from_slice(&[0; 4]);
    write(&mut bytes);
    let sum = checksum(key, &bytes[4..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn checksum(key: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(payload);
    hasher.finalize()
}

/// The payload of sealed bytes, when their checksum fits.
pub(super) fn open<'a>(key: &[u8], bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, payload) = bytes.split_first_chunk::<4>()?;
    (u32::from_le_bytes(*sum) == checksum(key, payload)).then_some(payload)
}

/// Encodes an entry for the log.
#[must_use]
pub fn encode_entry(entry: &Entry) -> EncodedEntry {
    let bytes = sealed(&entry.index.to_le_bytes(), entry.encoded_len(), |out| {
        entry.encode(out).expect("a vector grows as needed");
    });
    EncodedEntry { index: entry.index, term: entry.term, bytes }
}

/// Decodes and checks an entry read at `index`.
pub fn decode_entry(index: u64, bytes: &[u8]) -> Result<Entry, StoreError> {
    let damaged = |what: &str| StoreError::Corrupted(format!("entry {index} {what}"));
    let payload = open(&index.to_le_bytes(), bytes).ok_or_else(|| damaged("fails its checksum"))?;
    let entry = Entry::decode(payload).map_err(|_| damaged("is not an entry"))?;
    if entry.index != index || EntryType::from_i32(entry.entry_type).is_none() {
        return Err(damaged("is not what its place says"));
    }
    Ok(entry)
}

fn chunk_key(slot: u64, sequence: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&slot.to_le_bytes());
    key[8..].copy_from_slice(&sequence.to_le_bytes());
    key
}

/// A snapshot chunk as it is written.
pub(super) fn encode_chunk(slot: u64, sequence: u32, data: &[u8]) -> Vec<u8> {
    sealed(&chunk_key(slot, sequence), data.len(), |out| out.extend_from_slice(data))
}

/// Checks a snapshot chunk.
pub(super) fn decode_chunk(slot: u64, sequence: u32, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    open(&chunk_key(slot, sequence), bytes).map(<[u8]>::to_vec).ok_or_else(|| {
        StoreError::Corrupted(format!("chunk {sequence} of snapshot {slot} fails its checksum"))
    })
}

/// A named record as it is written.
pub(super) fn encode_record(name: &str, payload: &[u8]) -> Vec<u8> {
    sealed(name.as_bytes(), payload.len(), |out| out.extend_from_slice(payload))
}

/// Checks a named record.
pub(super) fn decode_record<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a [u8], StoreError> {
    open(name.as_bytes(), bytes)
        .ok_or_else(|| StoreError::Corrupted(format!("the record `{name}` fails its checksum")))
}

pub(super) fn encode_hard_state(state: &HardState) -> Vec<u8> {
    state.encode_to_vec()
}

pub(super) fn decode_hard_state(payload: &[u8]) -> Result<HardState, StoreError> {
    HardState::decode(payload).map_err(|_| StoreError::Corrupted("the hard state is unreadable".into()))
}

pub(super) fn encode_position(position: Position) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&position.index.to_le_bytes());
    bytes[8..].copy_from_slice(&position.term.to_le_bytes());
    bytes
}

pub(super) fn decode_position(payload: &[u8]) -> Result<Position, StoreError> {
    let mut reader = Reader(payload);
    match (reader.u64(), reader.u64()) {
        (Some(index), Some(term)) => Ok(Position { index, term }),
        _ => Err(StoreError::Corrupted("the log's start is unreadable".into())),
    }
}

pub(super) fn encode_snapshot(record: &SnapshotRecord) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in [record.slot, record.index, record.term, u64::from(record.chunks), record.bytes] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    record.conf_state.encode(&mut bytes).expect("a vector grows as needed");
    bytes
}

pub(super) fn decode_snapshot(payload: &[u8]) -> Result<SnapshotRecord, StoreError> {
    let mut reader = Reader(payload);
    let mut read = || {
        let (slot, index, term) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (chunks, bytes) = (u32::try_from(reader.u64()?).ok()?, reader.u64()?);
        let conf_state = ConfState::decode(reader.0).ok()?;
        Some(SnapshotRecord { slot, index, term, conf_state, chunks, bytes })
    };
    read().ok_or_else(|| StoreError::Corrupted("the snapshot record is unreadable".into()))
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn u64(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_and_a_flipped_bit_or_a_wrong_place_is_seen() {
        let entry = Entry { index: 7, term: 3, data: b"hello".to_vec(), ..Entry::default() };
        let encoded = encode_entry(&entry);
        assert_eq!(decode_entry(7, &encoded.bytes).unwrap(), entry);
        for bit in 0..encoded.bytes.len() * 8 {
            let mut bytes = encoded.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode_entry(7, &bytes), Err(StoreError::Corrupted(_))), "bit {bit}");
        }
        assert!(decode_entry(8, &encoded.bytes).is_err());
        assert!(decode_entry(7, &encoded.bytes[..3]).is_err());
    }

    #[test]
    fn a_snapshot_record_survives() {
        let record = SnapshotRecord {
            slot: 4,
            index: 9,
            term: 2,
            conf_state: ConfState { voters: vec![1, 2], learners: vec![3], ..ConfState::default() },
            chunks: 5,
            bytes: 77,
        };
        assert_eq!(decode_snapshot(&encode_snapshot(&record)).unwrap(), record);
        assert!(decode_snapshot(&[1; 12]).is_err());
    }

    #[test]
    fn a_chunk_belongs_to_its_place() {
        let bytes = encode_chunk(1, 2, b"data");
        assert_eq!(decode_chunk(1, 2, &bytes).unwrap(), b"data");
        assert!(decode_chunk(1, 3, &bytes).is_err());
        assert!(decode_chunk(2, 2, &bytes).is_err());
    }
}
