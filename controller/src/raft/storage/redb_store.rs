//! The log on a real disk, in one `redb` file.
//!
//! Every durable step is one write transaction, so one fdatasync, and either happened or did not.
//! redb checks its own pages when the file is opened; each entry, chunk and record has a checksum of
//! its own besides, so that a page written back wrongly by whatever lies below is found too.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ::raft::eraftpb::Entry;
use redb::{
    Builder, Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
};

use super::{Batch, Loaded, SnapshotSource, Store, StoreError, codec, redb_load};

pub(super) const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
pub(super) const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("records");
pub(super) const CHUNKS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("chunks");

pub(super) const FORMAT: &str = "format";
pub(super) const ID: &str = "id";
pub(super) const INCARNATION: &str = "incarnation";
pub(super) const HARD_STATE: &str = "hard-state";
pub(super) const SNAPSHOT: &str = "snapshot";
pub(super) const COMPACTED: &str = "compacted";

pub(super) const FORMAT_VERSION: u64 = 1;

/// The database's own page cache; entries that matter are cached decoded.
const PAGE_CACHE_BYTES: usize = 4 << 20;

/// The log of one replica in a file.
#[derive(Debug)]
pub struct LogStore {
    db: Database,
    path: PathBuf,
    next_slot: AtomicU64,
}

impl LogStore {
    /// Opens the log at `path`, creating an empty one (mode 0600) if there is none. The whole file is
    /// checked.
    ///
    /// # Errors
    /// When it can't be opened, is in use, is damaged, or has another version's format.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        create_private(&path)
            .map_err(|source| StoreError::Io { path: path.display().to_string(), source })?;
        let db = Builder::new()
            .set_cache_size(PAGE_CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create(&path)
            .map_err(|error| open_error(&path, error))?;
        let store = Self { db, path, next_slot: AtomicU64::new(1) };
        store.prepare()?;
        Ok(store)
    }

    /// The replica that the log belongs to, or `None` for an empty one.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn id(&self) -> Result<Option<u64>, StoreError> {
        let txn = self.db.begin_read().map_err(database)?;
        redb_load::number(&txn.open_table(RECORDS).map_err(database)?, ID)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates the tables, checks the format, and drops snapshots that nothing refers to.
    fn prepare(&self) -> Result<(), StoreError> {
        let txn = self.db.begin_write().map_err(database)?;
        {
            let mut records = txn.open_table(RECORDS).map_err(database)?;
            match redb_load::number(&records, FORMAT)? {
                None => put_number(&mut records, FORMAT, FORMAT_VERSION)?,
                Some(FORMAT_VERSION) => {}
                Some(found) => return Err(StoreError::Format { found, known: FORMAT_VERSION }),
            }
            txn.open_table(ENTRIES).map_err(database)?;
            let kept = redb_load::snapshot(&records)?.map_or(0, |record| record.slot);
            let mut chunks = txn.open_table(CHUNKS).map_err(database)?;
            let last = chunks.last().map_err(database)?.map_or(0, |(key, _)| key.value().0);
            self.next_slot.store(last.max(kept) + 1, Ordering::Relaxed);
            chunks.retain(|(slot, _), _| slot == kept).map_err(database)?;
        }
        txn.commit().map_err(database)
    }
}

impl Store for LogStore {
    fn found(&self, id: u64, batch: &Batch) -> Result<(), StoreError> {
        let txn = self.db.begin_write().map_err(database)?;
        {
            let mut records = txn.open_table(RECORDS).map_err(database)?;
            if let Some(owner) = redb_load::number(&records, ID)? {
                return Err(StoreError::NotEmpty(owner));
            }
            put_number(&mut records, ID, id)?;
        }
        apply(&txn, std::slice::from_ref(batch))?;
        txn.commit().map_err(database)
    }

    fn load(&self, cache_bytes: usize) -> Result<Loaded, StoreError> {
        let txn = self.db.begin_write().map_err(database)?;
        let loaded = {
            let mut records = txn.open_table(RECORDS).map_err(database)?;
            let incarnation = redb_load::number(&records, INCARNATION)?.unwrap_or(0) + 1;
            put_number(&mut records, INCARNATION, incarnation)?;
            let entries = txn.open_table(ENTRIES).map_err(database)?;
            Loaded { incarnation, ..redb_load::load(&records, &entries, cache_bytes)? }
        };
        txn.commit().map_err(database)?;
        Ok(loaded)
    }

    fn persist(&self, batches: &[Batch]) -> Result<(), StoreError> {
        let txn = self.db.begin_write().map_err(database)?;
        apply(&txn, batches)?;
        txn.commit().map_err(database)
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StoreError> {
        let txn = self.db.begin_read().map_err(database)?;
        let table = txn.open_table(ENTRIES).map_err(database)?;
        let (mut entries, mut bytes) = (Vec::new(), 0u64);
        for row in ReadableTable::range(&table, low..high).map_err(database)? {
            let (index, value) = row.map_err(database)?;
            bytes += value.value().len() as u64;
            if bytes > max_bytes && !entries.is_empty() {
                return Ok(entries);
            }
            if index.value() != low + entries.len() as u64 {
                break;
            }
            entries.push(codec::decode_entry(index.value(), value.value())?);
        }
        let end = low + entries.len() as u64;
        if end == high { Ok(entries) } else { Err(StoreError::Missing(format!("entry {end}"))) }
    }

    fn new_slot(&self) -> u64 {
        self.next_slot.fetch_add(1, Ordering::Relaxed)
    }

    fn put_chunk(&self, slot: u64, sequence: u32, data: &[u8]) -> Result<(), StoreError> {
        let mut txn = self.db.begin_write().map_err(database)?;
        // The batch that refers to the snapshot makes it durable; a fsync a chunk would only slow
        // the log down, which waits for its turn to write.
        txn.set_durability(Durability::None).map_err(database)?;
        {
            let mut chunks = txn.open_table(CHUNKS).map_err(database)?;
            let bytes = codec::encode_chunk(slot, sequence, data);
            chunks.insert((slot, sequence), bytes.as_slice()).map_err(database)?;
        }
        txn.commit().map_err(database)
    }

    fn open_snapshot(&self, slot: u64) -> Result<Box<dyn SnapshotSource>, StoreError> {
        Ok(Box::new(StoredSnapshot { txn: self.db.begin_read().map_err(database)?, slot }))
    }

    fn discard(&self, slot: u64) -> Result<(), StoreError> {
        let mut txn = self.db.begin_write().map_err(database)?;
        txn.set_durability(Durability::None).map_err(database)?;
        remove_slot(&txn, slot)?;
        txn.commit().map_err(database)
    }
}

/// A snapshot pinned by a read transaction.
struct StoredSnapshot {
    txn: ReadTransaction,
    slot: u64,
}

impl SnapshotSource for StoredSnapshot {
    fn chunk(&self, sequence: u32) -> Result<Vec<u8>, StoreError> {
        let chunks = self.txn.open_table(CHUNKS).map_err(database)?;
        let value = ReadableTable::get(&chunks, (self.slot, sequence))
            .map_err(database)?
            .ok_or_else(|| StoreError::Missing(format!("chunk {sequence} of snapshot {}", self.slot)))?;
        codec::decode_chunk(self.slot, sequence, value.value())
    }
}

fn apply(txn: &redb::WriteTransaction, batches: &[Batch]) -> Result<(), StoreError> {
    let mut records = txn.open_table(RECORDS).map_err(database)?;
    let mut entries = txn.open_table(ENTRIES).map_err(database)?;
    for batch in batches {
        if let Some(record) = &batch.snapshot {
            if let Some(old) = redb_load::snapshot(&records)? {
                remove_slot(txn, old.slot)?;
            }
            put(&mut records, SNAPSHOT, &codec::encode_snapshot(record))?;
        }
        if let Some(position) = batch.compact {
            let gone = if batch.reset { ..=u64::MAX } else { ..=position.index };
            entries.retain_in(gone, |_, _| false).map_err(database)?;
            put(&mut records, COMPACTED, &codec::encode_position(position))?;
        }
        if let Some(last) = batch.entries.last() {
            for entry in &batch.entries {
                entries.insert(entry.index, entry.bytes.as_slice()).map_err(database)?;
            }
            let stale = entries.last().map_err(database)?.is_some_and(|(key, _)| key.value() > last.index);
            if stale {
                entries.retain_in(last.index + 1.., |_, _| false).map_err(database)?;
            }
        }
    }
    if let Some(batch) = batches.last() {
        put(&mut records, HARD_STATE, &codec::encode_hard_state(&batch.hard_state))?;
    }
    Ok(())
}

fn remove_slot(txn: &redb::WriteTransaction, slot: u64) -> Result<(), StoreError> {
    let mut chunks = txn.open_table(CHUNKS).map_err(database)?;
    chunks.retain_in((slot, 0)..=(slot, u32::MAX), |_, _| false).map_err(database)
}

type Records<'txn> = redb::Table<'txn, &'static str, &'static [u8]>;

fn put(records: &mut Records<'_>, name: &str, payload: &[u8]) -> Result<(), StoreError> {
    records.insert(name, codec::encode_record(name, payload).as_slice()).map_err(database)?;
    Ok(())
}

fn put_number(records: &mut Records<'_>, name: &str, number: u64) -> Result<(), StoreError> {
    put(records, name, &number.to_le_bytes())
}

/// Makes the file if it isn't there, readable by its owner only and sure to be found again after a
/// power loss.
fn create_private(path: &Path) -> io::Result<()> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match created {
        Ok(file) => {
            file.sync_all()?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::metadata(path).map(drop),
        Err(error) => Err(error),
    }
}

fn open_error(path: &Path, error: redb::DatabaseError) -> StoreError {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.display().to_string()),
        redb::DatabaseError::Storage(redb::StorageError::Io(source))
            if source.kind() == io::ErrorKind::InvalidData =>
        {
            StoreError::Corrupted(source.to_string())
        }
        other => database(other),
    }
}

pub(super) fn database(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Corrupted(what) => StoreError::Corrupted(what),
        other => StoreError::Database(Box::new(other)),
    }
}
