//! The thread that makes changes durable.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use redb::{Database, ReadTransaction, ReadableDatabase};
use tokio::sync::watch;

use super::StoreError;
use super::database;
use super::pending::{Batch, Key, Pending};

/// What is waited before the disk is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// How far the thread is.
#[derive(Debug, Default)]
struct Progress {
    /// So many puts are on the disk.
    durable: u64,
    /// Attempts that failed.
    failures: u64,
    /// Why the last one did.
    reason: Arc<str>,
}

#[derive(Debug, Default)]
struct Queue {
    pending: Pending,
    closed: bool,
}

type Open = Box<dyn Fn() -> Result<Database, StoreError> + Send>;

struct Shared {
    /// None after a write has failed, until it could be opened again: redb goes on only so.
    db: Mutex<Option<Database>>,
    queue: Mutex<Queue>,
    wake: Condvar,
    progress: watch::Sender<Progress>,
}

/// The queue's end of the thread; dropping it writes what waits.
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("progress", &self.shared.progress).finish_non_exhaustive()
    }
}

impl Writer {
    /// Opens the database and starts the thread.
    pub(super) fn start(
        open: impl Fn() -> Result<Database, StoreError> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            db: Mutex::new(Some(open()?)),
            queue: Mutex::default(),
            wake: Condvar::new(),
            progress: watch::Sender::default(),
        });
        let (owned, open): (_, Open) = (shared.clone(), Box::new(open));
        let thread = Builder::new().name("store".to_owned()).spawn(move || owned.run(&open))?;
        Ok(Writer { shared, thread: Some(thread) })
    }

    /// Queues changes that go to the disk together.
    pub(super) fn put(&self, changes: impl IntoIterator<Item = (Key, Option<Vec<u8>>)>) {
        self.shared.queue.lock().pending.put(changes);
        self.shared.wake.notify_one();
    }

    /// Waits until all that was put before is on the disk, or the next attempt at it has failed.
    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        let wanted = self.shared.queue.lock().pending.count();
        let mut progress = self.shared.progress.subscribe();
        let failures = progress.borrow().failures;
        let seen = progress.wait_for(|now| now.durable >= wanted || now.failures > failures).await;
        // The sender is here.
        match seen {
            Ok(now) if now.durable < wanted => Err(StoreError::NotDurable(now.reason.clone())),
            _ => Ok(()),
        }
    }

    /// Reads what is on the disk.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let db = self.shared.db.lock();
        let Some(db) = &*db else {
            return Err(StoreError::NotDurable(self.shared.progress.borrow().reason.clone()));
        };
        let txn = db.begin_read().map_err(|error| StoreError::Database(Box::new(error.into())))?;
        read(&txn).map_err(|error| StoreError::Database(Box::new(error)))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of it was printed when it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, open: &Open) {
        loop {
            let (batch, covered) = {
                let mut queue = self.queue.lock();
                loop {
                    match queue.pending.take() {
                        Some(taken) => break taken,
                        None if queue.closed => return,
                        None => self.wake.wait(&mut queue),
                    }
                }
            };
            match self.write(open, &batch) {
                Ok(()) => self.progress.send_modify(|now| {
                    if !now.reason.is_empty() {
                        tracing::info!("the agent's database can be written again");
                        now.reason = Arc::default();
                    }
                    now.durable = covered;
                }),
                Err(error) => {
                    let reason: Arc<str> = error.to_string().into();
                    self.progress.send_modify(|now| {
                        if now.reason != reason {
                            tracing::error!(%reason, "the agent's database can't be written; see to the node's disk. Containers go on, and it is tried again");
                        }
                        now.failures += 1;
                        now.reason = reason;
                    });
                    let mut queue = self.queue.lock();
                    queue.pending.restore(batch);
                    let until = Instant::now() + PAUSE;
                    while !queue.closed && !self.wake.wait_until(&mut queue, until).timed_out() {}
                    if queue.closed {
                        return;
                    }
                }
            }
        }
    }

    fn write(&self, open: &Open, batch: &Batch) -> Result<(), StoreError> {
        let mut db = self.db.lock();
        let opened = match db.take() {
            Some(opened) => opened,
            None => open()?,
        };
        // After a failure it is dropped, and opened anew by the next attempt.
        database::write(&opened, batch).map_err(|error| StoreError::Database(Box::new(error)))?;
        *db = Some(opened);
        Ok(())
    }
}
