//! The database's file: its tables, opening it, reading it, writing a batch to it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableTable, StorageError, TableDefinition,
    TableError,
};

use super::StoreError;
use super::pending::{Batch, Key};

pub(super) type Rows = TableDefinition<'static, u64, &'static [u8]>;

/// Task id to the task as it was assigned.
pub(super) const TASKS: Rows = TableDefinition::new("tasks");
/// Task id to its status.
pub(super) const STATUSES: Rows = TableDefinition::new("statuses");
const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("records");

pub(super) const GENERATION: &str = "generation";
pub(super) const CONTROLLERS: &str = "controllers";

/// The agent's data is small: what is read at start, and written from then on.
const CACHE: usize = 1 << 20;

pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder
}

/// Opens the file, and makes it for its owner only if it isn't there.
pub(super) fn open_file(path: &Path) -> Result<Database, DatabaseError> {
    let made = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map_err(StorageError::from)?;
    builder().create(path)
}

/// Makes a new file in the place of one that is damaged.
pub(super) fn put_aside(path: &Path, error: DatabaseError) -> Result<Database, StoreError> {
    let damaged = match &error {
        DatabaseError::Storage(StorageError::Corrupted(_)) | DatabaseError::RepairAborted => true,
        DatabaseError::Storage(StorageError::Io(error)) => error.kind() == io::ErrorKind::InvalidData,
        _ => false,
    };
    if !damaged {
        return Err(error.into());
    }
    let aside = path.with_extension("redb.damaged");
    tracing::error!(%error, aside = %aside.display(), "the agent's database is damaged and was put aside; a controller tells again what it held");
    fs::rename(path, aside)?;
    Ok(open_file(path)?)
}

/// A record by its name.
pub(super) fn record(txn: &ReadTransaction, name: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    let table = match txn.open_table(RECORDS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        table => table?,
    };
    Ok(table.get(name)?.map(|bytes| bytes.value().to_vec()))
}

/// A table's rows, in the order of their ids.
pub(super) fn rows(txn: &ReadTransaction, table: Rows) -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
    let table = match txn.open_table(table) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        table => table?,
    };
    table
        .iter()?
        .map(|row| {
            let (id, bytes) = row?;
            Ok((id.value(), bytes.value().to_vec()))
        })
        .collect()
}

/// Makes a batch durable: one transaction, one fdatasync.
pub(super) fn write(db: &Database, batch: &Batch) -> Result<(), redb::Error> {
    let txn = db.begin_write()?;
    {
        let mut tasks = txn.open_table(TASKS)?;
        let mut statuses = txn.open_table(STATUSES)?;
        let mut records = txn.open_table(RECORDS)?;
        for (key, value) in batch {
            match (key, value) {
                (Key::Task(id), Some(bytes)) => drop(tasks.insert(id, bytes.as_slice())?),
                (Key::Task(id), None) => drop(tasks.remove(id)?),
                (Key::Status(id), Some(bytes)) => drop(statuses.insert(id, bytes.as_slice())?),
                (Key::Status(id), None) => drop(statuses.remove(id)?),
                (Key::Record(name), Some(bytes)) => drop(records.insert(name, bytes.as_slice())?),
                (Key::Record(name), None) => drop(records.remove(name)?),
            }
        }
    }
    txn.commit()?;
    Ok(())
}
