//! The agent's local database: what it was told, how far its tasks are, and where the controllers are. With it the
//! agent goes on when it is started again and no controller answers.
//!
//! Keys: `t` + task id: the assigned task; `s` + task id: its status; `generation`; `controllers`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message;
use serde::Serialize;
use sled::IVec;
use thiserror::Error;
use tokio::sync::{Mutex, watch};
use wharf_cluster::ids::TaskId;
use wharf_proto::v1::{AssignedTask, Generation};

use crate::task::Status;

const TASK: u8 = b't';
const STATUS: u8 = b's';
const GENERATION: &[u8] = b"generation";
const CONTROLLERS: &[u8] = b"controllers";
/// The agent's data is small: what is read at start, and written from then on.
const CACHE: u64 = 1 << 20;

/// Why the database can't be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database itself.
    #[error("the agent's database: {0}")]
    Database(#[from] sled::Error),
    /// A record that this version can't write.
    #[error("can't encode a record of the agent's database: {0}")]
    Encode(#[from] serde_json::Error),
    /// The thread that wrote was stopped.
    #[error("the agent's database was not flushed")]
    Stopped,
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: sled::Db,
    flush: Arc<Flush>,
    failed: Arc<watch::Sender<bool>>,
}

/// Callers that wait for the disk share one flush.
#[derive(Default)]
struct Flush {
    written: AtomicU64,
    flushed: Mutex<u64>,
}

impl Store {
    /// Opens the database in `folder`.
    ///
    /// # Errors
    /// When it can't be read, or another process uses it.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let db = sled::Config::new().path(folder).cache_capacity(CACHE).flush_every_ms(Some(500)).open()?;
        Ok(Store { db, flush: Arc::default(), failed: Arc::default() })
    }

    /// The newest generation that was followed.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn held(&self) -> Result<Generation, StoreError> {
        let bytes = self.db.get(GENERATION)?;
        Ok(bytes.and_then(|bytes| Generation::decode(bytes.as_ref()).ok()).unwrap_or_default())
    }

    /// The assigned tasks. One that can't be read is left out: a controller tells it again.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn tasks(&self) -> Result<Vec<AssignedTask>, StoreError> {
        Ok(self.each(TASK)?.into_iter().filter_map(|(_, b)| AssignedTask::decode(b.as_ref()).ok()).collect())
    }

    /// The statuses of all tasks that are not forgotten.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn statuses(&self) -> Result<Vec<(TaskId, Status)>, StoreError> {
        let read = |(id, bytes): (TaskId, IVec)| Some((id, serde_json::from_slice(&bytes).ok()?));
        Ok(self.each(STATUS)?.into_iter().filter_map(read).collect())
    }

    /// Takes over a change of the assignment, all of it or nothing.
    ///
    /// # Errors
    /// When the database can't be written.
    pub fn assign(
        &self,
        generation: &Generation,
        changed: &[(TaskId, AssignedTask)],
        removed: &[TaskId],
    ) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        batch.insert(GENERATION, generation.encode_to_vec());
        for (id, task) in changed {
            batch.insert(key(TASK, *id).as_slice(), task.encode_to_vec());
        }
        for id in removed {
            batch.remove(key(TASK, *id).as_slice());
        }
        self.noted(self.db.apply_batch(batch))?;
        self.wrote();
        Ok(())
    }

    /// Keeps a task's status.
    ///
    /// # Errors
    /// When the database can't be written.
    pub fn set_status(&self, id: TaskId, status: &Status) -> Result<(), StoreError> {
        self.put(&key(STATUS, id), status)
    }

    /// Forgets how far a task was.
    ///
    /// # Errors
    /// When the database can't be written.
    pub fn forget(&self, id: TaskId) -> Result<(), StoreError> {
        self.noted(self.db.remove(key(STATUS, id)))?;
        self.wrote();
        Ok(())
    }

    /// Where the controllers are.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn controllers(&self) -> Result<Vec<String>, StoreError> {
        let bytes = self.db.get(CONTROLLERS)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Keeps where the controllers are.
    ///
    /// # Errors
    /// When the database can't be written.
    pub fn set_controllers(&self, addresses: &[String]) -> Result<(), StoreError> {
        self.put(CONTROLLERS, &addresses)
    }

    /// Returns once all that was written before is on the disk.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let wanted = self.flush.written.load(Ordering::SeqCst);
        let mut flushed = self.flush.flushed.lock().await;
        if *flushed >= wanted {
            return Ok(());
        }
        let covered = self.flush.written.load(Ordering::SeqCst);
        let db = self.db.clone();
        let done = tokio::task::spawn_blocking(move || db.flush()).await.map_err(|_| StoreError::Stopped)?;
        self.noted(done)?;
        *flushed = covered;
        Ok(())
    }

    /// Returns when a write has failed, such as on a full disk. The database doesn't recover from that within a process:
    /// it has to be opened again.
    pub async fn failed(&self) {
        // The sender is here.
        let _ = self.failed.subscribe().wait_for(|failed| *failed).await;
    }

    fn noted<T>(&self, written: Result<T, sled::Error>) -> Result<T, sled::Error> {
        if written.is_err() {
            self.failed.send_replace(true);
        }
        written
    }

    fn put<T: Serialize>(&self, key: &[u8], value: &T) -> Result<(), StoreError> {
        self.noted(self.db.insert(key, serde_json::to_vec(value)?))?;
        self.wrote();
        Ok(())
    }

    fn wrote(&self) {
        self.flush.written.fetch_add(1, Ordering::SeqCst);
    }

    fn each(&self, kind: u8) -> Result<Vec<(TaskId, IVec)>, StoreError> {
        let mut all = Vec::new();
        for entry in self.db.scan_prefix([kind]) {
            let (key, value) = entry?;
            if let Ok(id) = <[u8; 8]>::try_from(&key[1..]) {
                all.push((TaskId(u64::from_be_bytes(id)), value));
            }
        }
        Ok(all)
    }
}

fn key(kind: u8, id: TaskId) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&id.0.to_be_bytes());
    key
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
            store.assign(&generation, &[task(1), task(2)], &[]).unwrap();
            store.assign(&generation, &[task(3)], &[TaskId(1)]).unwrap();
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
        store.forget(TaskId(2)).unwrap();
        assert!(store.statuses().unwrap().is_empty());
    }
}
