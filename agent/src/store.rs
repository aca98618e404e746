//! The agent's local database: what it was told, how far its tasks are, and where the controllers are. With it the
//! agent goes on when it is started again and no controller answers.
//!
//! Changes are queued and made durable by a thread of the store's own, all that wait in one transaction: nobody who
//! reports a status waits for the disk. While the disk refuses, changes are kept and tried again.

mod database;
mod pending;
mod writer;

use std::path::Path;
use std::sync::Arc;

use prost::Message;
use redb::{DatabaseError, StorageBackend};
use thiserror::Error;
use wharf_cluster::ids::TaskId;
use wharf_proto::v1::{AssignedTask, Generation};

use crate::task::Status;

use database::{CONTROLLERS, GENERATION};
use pending::Key;
use writer::Writer;

/// The database's file in the agent's data directory.
pub const FILE: &str = "agent.redb";

/// Why the database can't be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database itself.
    #[error("the agent's database: {0}")]
    Database(#[source] Box<redb::Error>),
    /// Its file or folder.
    #[error("the agent's database: {0}")]
    File(#[from] std::io::Error),
    /// Something could not be made durable; it is kept, and tried again.
    #[error("the agent's database can't be written: {0}")]
    NotDurable(Arc<str>),
    /// A record that this version can't write.
    #[error("can't encode a record of the agent's database: {0}")]
    Encode(#[from] serde_json::Error),
}

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    writer: Arc<Writer>,
}

impl Store {
    /// Opens the database in `folder`. One that is damaged is put aside: what it held is told again by a controller,
    /// and until then nothing that runs on this node is touched.
    ///
    /// # Errors
    /// When it can't be read, or another process uses it.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(FILE);
        database::open_file(&path).or_else(|error| database::put_aside(&path, error)).map(drop)?;
        Writer::start(move || database::open_file(&path).map_err(StoreError::from)).map(Self::from)
    }

    /// A database on storage of the caller's, which is asked for again after a write has failed.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn open_on<B: StorageBackend>(storage: impl Fn() -> B + Send + 'static) -> Result<Self, StoreError> {
        Writer::start(move || Ok(database::builder().create_with_backend(storage())?)).map(Self::from)
    }

    /// The newest generation that was followed.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn held(&self) -> Result<Generation, StoreError> {
        let bytes = self.writer.read(|txn| database::record(txn, GENERATION))?;
        Ok(bytes.and_then(|bytes| Generation::decode(bytes.as_slice()).ok()).unwrap_or_default())
    }

    /// The assigned tasks. One that can't be read is left out: a controller tells it again.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn tasks(&self) -> Result<Vec<AssignedTask>, StoreError> {
        let rows = self.writer.read(|txn| database::rows(txn, database::TASKS))?;
        Ok(rows.into_iter().filter_map(|(_, bytes)| AssignedTask::decode(bytes.as_slice()).ok()).collect())
    }

    /// The statuses of all tasks that are not forgotten.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn statuses(&self) -> Result<Vec<(TaskId, Status)>, StoreError> {
        let rows = self.writer.read(|txn| database::rows(txn, database::STATUSES))?;
        let read = |(id, bytes): (u64, Vec<u8>)| Some((TaskId(id), serde_json::from_slice(&bytes).ok()?));
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// Where the controllers are.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn controllers(&self) -> Result<Vec<String>, StoreError> {
        let bytes = self.writer.read(|txn| database::record(txn, CONTROLLERS))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Takes over a change of the assignment, all of it or nothing.
    pub fn assign(&self, generation: &Generation, changed: &[(TaskId, AssignedTask)], removed: &[TaskId]) {
        let generation = (Key::Record(GENERATION), Some(generation.encode_to_vec()));
        let changed = changed.iter().map(|(id, task)| (Key::Task(id.0), Some(task.encode_to_vec())));
        let removed = removed.iter().map(|id| (Key::Task(id.0), None));
        self.writer.put([generation].into_iter().chain(changed).chain(removed));
    }

    /// Keeps a task's status.
    ///
    /// # Errors
    /// When it can't be encoded.
    pub fn set_status(&self, id: TaskId, status: &Status) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(status)?;
        self.writer.put([(Key::Status(id.0), Some(bytes))]);
        Ok(())
    }

    /// Forgets how far a task was.
    pub fn forget(&self, id: TaskId) {
        self.writer.put([(Key::Status(id.0), None)]);
    }

    /// Keeps where the controllers are.
    ///
    /// # Errors
    /// When they can't be encoded.
    pub fn set_controllers(&self, addresses: &[String]) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(addresses)?;
        self.writer.put([(Key::Record(CONTROLLERS), Some(bytes))]);
        Ok(())
    }

    /// Returns once all that was put before is on the disk.
    ///
    /// # Errors
    /// When the disk refuses it at present.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.writer.flush().await
    }
}

impl From<Writer> for Store {
    fn from(writer: Writer) -> Self {
        Store { writer: Arc::new(writer) }
    }
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        StoreError::Database(Box::new(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_cluster::model::TaskState;

    fn task(id: u64) -> (TaskId, AssignedTask) {
        (TaskId(id), AssignedTask { id: TaskId(id).to_string(), ..AssignedTask::default() })
    }

    #[tokio::test]
    async fn everything_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let generation = Generation { term: 3, session: 2, sequence: 1 };
        {
            let store = Store::open(folder.path()).unwrap();
            store.assign(&generation, &[task(1), task(2)], &[]);
            store.assign(&generation, &[task(3)], &[TaskId(1)]);
            store.set_status(TaskId(2), &Status::new(TaskState::Ready, "so far")).unwrap();
            store.set_controllers(&["a:7400".to_owned()]).unwrap();
            store.flush().await.unwrap();
        }
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.held().unwrap(), generation);
        let ids: Vec<String> = store.tasks().unwrap().into_iter().map(|t| t.id).collect();
        assert_eq!(ids, ["2", "3"]);
        assert_eq!(store.statuses().unwrap()[0].1.message, "so far");
        assert_eq!(store.controllers().unwrap(), ["a:7400"]);
        store.forget(TaskId(2));
        store.flush().await.unwrap();
        assert!(store.statuses().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_damaged_database_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), vec![7; 100_000]).unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.held().unwrap(), Generation::default());
        store.assign(&Generation { term: 1, session: 1, sequence: 1 }, &[task(1)], &[]);
        store.flush().await.unwrap();
        assert!(folder.path().join("agent.redb.damaged").exists());
    }

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let _store = Store::open(folder.path()).unwrap();
        assert!(Store::open(folder.path()).is_err());
        assert!(!folder.path().join("agent.redb.damaged").exists());
    }
}
