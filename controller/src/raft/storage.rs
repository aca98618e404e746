//! What a replica keeps on disk, behind the small trait that real and simulated disks implement.
//!
//! The core never writes: it hands out [`Batch`]es, and whoever hosts it makes them durable in order
//! and says so. Reads are for what memory no longer holds.

mod codec;
mod error;
mod redb_load;
mod redb_store;
mod snapshot_io;
mod terms;
mod view;

use ::raft::eraftpb::{ConfState, Entry, HardState};

use super::space::Space;

pub use codec::{EncodedEntry, decode_entry, encode_entry};
pub use error::StoreError;
pub use redb_store::LogStore;
pub use snapshot_io::{read_snapshot, write_snapshot};
pub(super) use terms::TermRuns;
pub(super) use view::LogView;

/// The bytes of a snapshot that one chunk holds, on disk and on the wire: with what goes around them a
/// little less than a power of two, which is what the database takes for them.
pub const CHUNK_BYTES: usize = 255 << 10;

/// A snapshot's place in the log, and where its bytes are kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SnapshotRecord {
    /// The store's name for the chunks.
    pub slot: u64,
    /// The last index that the snapshot covers.
    pub index: u64,
    /// The term of that index.
    pub term: u64,
    /// The members at that index.
    pub conf_state: ConfState,
    /// How many chunks there are.
    pub chunks: u32,
    /// How many bytes they hold together.
    pub bytes: u64,
}

/// A position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The index.
    pub index: u64,
    /// The term of the entry there.
    pub term: u64,
}

/// One step of the log, to be made durable as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// The hard state after this step.
    pub hard_state: HardState,
    /// A snapshot that replaces the one before, whose chunks can go.
    pub snapshot: Option<SnapshotRecord>,
    /// Drop the log up to here, this position included.
    pub compact: Option<Position>,
    /// Drop everything that the log holds, before appending; the log begins after `compact`.
    pub reset: bool,
    /// Entries to append; whatever the log holds from the first one's index on is dropped.
    pub entries: Vec<EncodedEntry>,
}

/// What a store holds when a replica starts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Loaded {
    /// The replica that the store belongs to.
    pub id: u64,
    /// How many times the store was opened for running, this time included.
    pub incarnation: u64,
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// The newest snapshot.
    pub snapshot: Option<SnapshotRecord>,
    /// The position before the log's first entry.
    pub compacted: Position,
    /// Where each term of the log begins, as (first index, term).
    pub terms: Vec<(u64, u64)>,
    /// The last index in the log.
    pub last_index: u64,
    /// The log's newest entries, without a gap up to `last_index`.
    pub tail: Vec<Entry>,
}

/// A durable log.
///
/// Methods may be called from several threads. Batches are persisted by one caller, in order.
pub trait Store: Send + Sync + 'static {
    /// Makes an empty store the store of replica `id`, starting from `batch`; durable when it returns.
    ///
    /// # Errors
    /// When it belongs to a replica already, or can't be written.
    fn found(&self, id: u64, batch: &Batch) -> Result<(), StoreError>;

    /// Reads what a replica needs to start, checks every entry, and counts the start, durably.
    /// About `cache_bytes` of the newest entries come along.
    ///
    /// # Errors
    /// When the store is empty, damaged, or can't be read.
    fn load(&self, cache_bytes: usize) -> Result<Loaded, StoreError>;

    /// Makes batches durable, in order, all of them or none: one transaction, one fsync.
    ///
    /// # Errors
    /// When it can't: nothing may be assumed about the batches then, and the replica has to stop.
    fn persist(&self, batches: &[Batch]) -> Result<(), StoreError>;

    /// Entries from `low` up to but not including `high`, at least one, then as many as fit into
    /// `max_bytes`.
    ///
    /// # Errors
    /// When they can't be read or are damaged.
    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StoreError>;

    /// A name for a snapshot about to be written. Not kept unless a persisted batch refers to it.
    fn new_slot(&self) -> u64;

    /// Writes one chunk of a snapshot. It need not be durable before a batch that refers to it is.
    ///
    /// # Errors
    /// When it can't be written.
    fn put_chunk(&self, slot: u64, sequence: u32, data: &[u8]) -> Result<(), StoreError>;

    /// Opens a snapshot for reading. It stays readable through the returned source even when a newer
    /// one replaces it.
    ///
    /// # Errors
    /// When the store can't be read.
    fn open_snapshot(&self, slot: u64) -> Result<Box<dyn SnapshotSource>, StoreError>;

    /// Drops the chunks of a snapshot that no batch refers to.
    ///
    /// # Errors
    /// When the store can't be written.
    fn discard(&self, slot: u64) -> Result<(), StoreError>;

    /// The space that is left, where that is known. Quick.
    fn space(&self) -> Option<Space>;
}

/// A snapshot's chunks.
pub trait SnapshotSource: Send {
    /// The chunk with this number.
    ///
    /// # Errors
    /// When it isn't there, is damaged, or can't be read.
    fn chunk(&self, sequence: u32) -> Result<Vec<u8>, StoreError>;
}
