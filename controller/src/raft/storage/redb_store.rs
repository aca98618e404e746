//! The log on a real disk, in one `redb` file.
//!
//! Every durable step is one write transaction, so one fdatasync, and either happened or did not.
//! redb checks its own pages when the file is opened; each entry, chunk and record has a checksum of
//! its own besides, so that a page written back wrongly by whatever lies below is found too.
//!
//! A commit that was torn by a crash is dropped at the next start: its pages fail redb's checksums and
//! the commit before it counts. Damage that a sound disk would not do, to pages that only the very last
//! commit before a crash wrote, looks the same; the leader then refuses the replica, whose log is
//! shorter than it had acknowledged.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use ::raft::eraftpb::Entry;
use redb::{
    Builder, Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend,
    TableDefinition, WriteTransaction, backends::FileBackend,
};
use rustix::fs::{Advice, fadvise, statvfs};

use super::{Batch, Loaded, SnapshotSource, Space, Store, StoreError, codec, redb_load};

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
    /// Why the disk failed first: the database only says later that it did.
    failure: OnceLock<(Option<i32>, String)>,
}

impl LogStore {
    /// Opens the log at `path`, creating an empty one (mode 0600) if there is none. The whole file is
    /// checked.
    ///
    /// # Errors
    /// When it can't be opened, is in use, is damaged, or has another version's format.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let failed = |source| StoreError::open(path, source);
        if !path.try_exists().map_err(failed)? {
            make(path, failed)?;
        }
        let file = File::options().read(true).write(true).open(path).map_err(failed)?;
        read_from_disk(&file).map_err(failed)?;
        Self::open_on(path, FileBackend::new(file).map_err(database)?)
    }

    /// The same on `file`, which holds what is at `path`.
    ///
    /// # Errors
    /// As [`LogStore::open`].
    pub fn open_on(path: &Path, file: impl StorageBackend) -> Result<Self, StoreError> {
        reading(path, || {
            let db = Builder::new()
                .set_cache_size(PAGE_CACHE_BYTES)
                .set_check_integrity_on_open(true)
                .create_with_backend(file)
                .map_err(database)?;
            let (path, next_slot) = (path.to_owned(), AtomicU64::new(1));
            let store = Self { db, path, next_slot, failure: OnceLock::new() };
            store.prepare()?;
            Ok(store)
        })
    }

    /// The replica that the log belongs to, or `None` for an empty one.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn id(&self) -> Result<Option<u64>, StoreError> {
        reading(&self.path, || {
            let txn = self.db.begin_read().map_err(database)?;
            redb_load::number(&txn.open_table(RECORDS).map_err(database)?, ID)
        })
    }

    /// Makes the store that of replica `id`, whoever's it was: `batch` takes the place of what it held. Durable when it
    /// returns, all of it or nothing.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn replace(&self, id: u64, batch: &Batch) -> Result<(), StoreError> {
        self.write(Durability::Immediate, |txn| {
            put_number(&mut txn.open_table(RECORDS).map_err(database)?, ID, id)?;
            apply(txn, std::slice::from_ref(batch))
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates the tables, checks the format, and drops snapshots that nothing refers to.
    fn prepare(&self) -> Result<(), StoreError> {
        self.transact(Durability::Immediate, |txn| {
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
            chunks.retain(|(slot, _), _| slot == kept).map_err(database)
        })
    }

    /// One transaction: all that `change` does, or nothing.
    fn transact<T>(
        &self,
        durability: Durability,
        change: impl FnOnce(&WriteTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut txn = self.db.begin_write().map_err(database)?;
        txn.set_durability(durability).map_err(database)?;
        let result = change(&txn)?;
        txn.commit().map_err(database)?;
        Ok(result)
    }

    fn write(
        &self,
        durability: Durability,
        change: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.transact(durability, change).map_err(|error| self.explain(error))
    }

    fn explain(&self, error: StoreError) -> StoreError {
        if let StoreError::Database(error) = &error {
            match &**error {
                redb::Error::Io(source) => {
                    // Only the first counts.
                    let _ = self.failure.set((source.raw_os_error(), source.to_string()));
                }
                redb::Error::PreviousIo => {
                    if let Some((number, text)) = self.failure.get() {
                        let again = || io::Error::other(text.clone());
                        let source = number.map_or_else(again, io::Error::from_raw_os_error);
                        return StoreError::disk(&self.path, source);
                    }
                }
                _ => {}
            }
        }
        error.in_file(&self.path)
    }

    fn read_entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StoreError> {
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
}

/// Names the file in whatever goes wrong. What is damaged in a way that the database didn't expect is
/// damaged all the same.
fn reading<T>(path: &Path, read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(StoreError::Corrupted("its pages make no sense".to_owned())))
        .map_err(|error| error.in_file(path))
}

impl Store for LogStore {
    fn found(&self, id: u64, batch: &Batch) -> Result<(), StoreError> {
        self.write(Durability::Immediate, |txn| {
            let mut records = txn.open_table(RECORDS).map_err(database)?;
            if let Some(owner) = redb_load::number(&records, ID)? {
                return Err(StoreError::NotEmpty(owner));
            }
            put_number(&mut records, ID, id)?;
            drop(records);
            apply(txn, std::slice::from_ref(batch))
        })
    }

    fn load(&self, cache_bytes: usize) -> Result<Loaded, StoreError> {
        reading(&self.path, || {
            self.transact(Durability::Immediate, |txn| {
                let mut records = txn.open_table(RECORDS).map_err(database)?;
                let incarnation = redb_load::number(&records, INCARNATION)?.unwrap_or(0) + 1;
                put_number(&mut records, INCARNATION, incarnation)?;
                let entries = txn.open_table(ENTRIES).map_err(database)?;
                Ok(Loaded { incarnation, ..redb_load::load(&records, &entries, cache_bytes)? })
            })
        })
    }

    fn persist(&self, batches: &[Batch]) -> Result<(), StoreError> {
        self.write(Durability::Immediate, |txn| apply(txn, batches))
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StoreError> {
        reading(&self.path, || self.read_entries(low, high, max_bytes))
    }

    fn new_slot(&self) -> u64 {
        self.next_slot.fetch_add(1, Ordering::Relaxed)
    }

    fn put_chunk(&self, slot: u64, sequence: u32, data: &[u8]) -> Result<(), StoreError> {
        // The batch that refers to the snapshot makes it durable; a fsync a chunk would only slow
        // the log down, which waits for its turn to write.
        self.write(Durability::None, |txn| {
            let mut chunks = txn.open_table(CHUNKS).map_err(database)?;
            let bytes = codec::encode_chunk(slot, sequence, data);
            chunks.insert((slot, sequence), bytes.as_slice()).map_err(database)?;
            Ok(())
        })
    }

    fn open_snapshot(&self, slot: u64) -> Result<Box<dyn SnapshotSource>, StoreError> {
        let path = self.path.clone();
        reading(&path.clone(), || {
            Ok(Box::new(StoredSnapshot { txn: self.db.begin_read().map_err(database)?, slot, path }) as _)
        })
    }

    fn discard(&self, slot: u64) -> Result<(), StoreError> {
        self.write(Durability::None, |txn| remove_slot(txn, slot))
    }

    fn space(&self) -> Option<Space> {
        let stat = statvfs(&self.path).ok()?;
        Some(Space { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize })
    }
}

/// A snapshot pinned by a read transaction.
struct StoredSnapshot {
    txn: ReadTransaction,
    slot: u64,
    path: PathBuf,
}

impl SnapshotSource for StoredSnapshot {
    fn chunk(&self, sequence: u32) -> Result<Vec<u8>, StoreError> {
        reading(&self.path, || {
            let chunks = self.txn.open_table(CHUNKS).map_err(database)?;
            let value = ReadableTable::get(&chunks, (self.slot, sequence))
                .map_err(database)?
                .ok_or_else(|| StoreError::Missing(format!("chunk {sequence} of snapshot {}", self.slot)))?;
            codec::decode_chunk(self.slot, sequence, value.value())
        })
    }
}

fn apply(txn: &WriteTransaction, batches: &[Batch]) -> Result<(), StoreError> {
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

fn remove_slot(txn: &WriteTransaction, slot: u64) -> Result<(), StoreError> {
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

/// Makes an empty log, readable by its owner only. It gets its name when it is whole, so that a crash
/// leaves none or one that can be opened.
fn make(path: &Path, failed: impl Fn(io::Error) -> StoreError) -> Result<(), StoreError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(new).map_err(&failed)?;
    let same = file.try_clone().map_err(&failed)?;
    drop(LogStore::open_on(new, FileBackend::new(file).map_err(database)?)?);
    let finish = || {
        same.sync_all()?;
        fs::rename(new, path)?;
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    finish().map_err(failed)
}

/// After a failed write the system may go on showing from memory what the disk never got: makes it read
/// again what the disk has.
fn read_from_disk(file: &File) -> io::Result<()> {
    file.sync_all()?;
    Ok(fadvise(file, 0, None, Advice::DontNeed)?)
}

pub(super) fn database(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Database(Box::new(error.into()))
}
