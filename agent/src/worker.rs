//! Makes the node hold what it was assigned. For each task that has something to do, a runner does what
//! [`crate::plan`] says, step by step.

mod history;
mod launch;
mod prepare;
mod prepared;
mod recover;
mod runner;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use wharf_cluster::ids::TaskId;
use wharf_cluster::model::{DesiredState, TaskState};
use wharf_proto::v1::{self, Generation};
use wharf_runtime::api::{ContainerRuntime, RuntimeError, Started};

use crate::images::{ImageError, ImageSource};
use crate::network::Network;
use crate::plan::{Observed, Step, plan};
use crate::reports::Reports;
use crate::store::{Store, StoreError};
use crate::task::Assigned;

use history::History;
pub use prepared::Prepared;

/// What the worker works with.
pub struct Parts {
    /// Runs containers.
    pub runtime: Arc<dyn ContainerRuntime>,
    /// Brings images.
    pub images: Arc<dyn ImageSource>,
    /// Connects tasks.
    pub network: Arc<dyn Network>,
    /// Remembers.
    pub store: Store,
    /// Tells the controller.
    pub reports: Arc<Reports>,
    /// Where things are on this node.
    pub places: Places,
}

/// Where things are on this node.
#[derive(Debug, Clone)]
pub struct Places {
    /// Volumes' folders.
    pub volumes: PathBuf,
    /// Files that are bound into running containers, a folder per task.
    pub files: PathBuf,
    /// The node's own name servers.
    pub resolv_conf: PathBuf,
    /// The node's own host names, which containers in its network share.
    pub hosts: PathBuf,
    /// Cgroup that containers' cgroups are made in.
    pub cgroup_parent: String,
    /// What people call the node.
    pub node: String,
}

impl Places {
    /// The folder of a task's files.
    fn folder(&self, task: TaskId) -> PathBuf {
        self.files.join(task.to_string())
    }
}

/// Why an assignment was not taken.
#[derive(Debug, Error)]
pub enum AssignError {
    /// A task's id or desired state means nothing to us.
    #[error("the controller assigned something that can't be understood: {0}")]
    Malformed(String),
    /// It could not be remembered, and so must not be followed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the worker can't begin.
#[derive(Debug, Error)]
pub enum StartError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Containers can't be listed.
    #[error("can't find this node's containers: {0}")]
    Runtime(#[from] RuntimeError),
    /// Root filesystems can't be listed.
    #[error(transparent)]
    Images(#[from] ImageError),
    /// A folder can't be used.
    #[error("can't use {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// A change of the assignment.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Its place in the order of changes.
    pub generation: Generation,
    /// Whether `tasks` is everything.
    pub full: bool,
    /// Tasks that are new or further.
    pub tasks: Vec<v1::AssignedTask>,
    /// Tasks to stop and forget.
    pub removed: Vec<TaskId>,
}

/// What is wanted of a task; nothing, if it isn't assigned.
#[derive(Debug, Clone, Default)]
struct Wanted(Option<Arc<Assigned>>);

impl Wanted {
    fn desired(&self) -> Option<DesiredState> {
        self.0.as_ref().map(|task| task.desired)
    }
}

/// A task, in the worker's eyes.
struct Entry {
    wanted: watch::Sender<Wanted>,
    /// What there is, when no runner is at it.
    idle: Option<Idle>,
}

/// A task that no runner is at.
struct Idle {
    seen: Observed,
    /// Its container, if it runs.
    started: Option<Started>,
}

impl From<Observed> for Idle {
    fn from(seen: Observed) -> Self {
        Idle { seen, started: None }
    }
}

/// Holds the node's tasks.
pub struct Worker {
    parts: Parts,
    held: Mutex<Generation>,
    tasks: Mutex<BTreeMap<TaskId, Entry>>,
    history: History,
    /// How many tasks may be made ready at a time: that is work for processors and the kernel's locks.
    making: Semaphore,
    /// The same for cleaning, which is never to keep tasks from starting.
    cleaning: Semaphore,
}

impl Worker {
    /// Finds what an earlier agent left, and goes on with it.
    ///
    /// # Errors
    /// When what is on this node can't be found out.
    pub async fn start(parts: Parts) -> Result<Arc<Self>, StartError> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let found = recover::recover(&parts).await?;
        let held = parts.store.held()?;
        let worker = Arc::new(Worker {
            parts,
            held: Mutex::new(held),
            tasks: Mutex::new(found),
            history: History::default(),
            making: Semaphore::new(2 * cpus),
            cleaning: Semaphore::new(2 * cpus),
        });
        for (id, status) in worker.parts.store.statuses()? {
            if status.state.is_final() {
                worker.keep_log(id, status.at).await;
            }
        }
        // Who has never been told anything, or has lost it, waits for the first word before anything is stopped.
        if held != Generation::default() {
            worker.settle();
        }
        Ok(worker)
    }

    /// The generation that is followed.
    pub fn held(&self) -> Generation {
        *self.held.lock()
    }

    /// Takes over a change of the assignment: remembers it, then acts on it.
    ///
    /// # Errors
    /// When it can't be understood or remembered; nothing is changed then.
    pub async fn assign(self: &Arc<Self>, change: Change) -> Result<(), AssignError> {
        let mut wanted = BTreeMap::new();
        let mut records = Vec::with_capacity(change.tasks.len());
        for record in change.tasks {
            let task = Assigned::try_from(record.clone()).map_err(AssignError::Malformed)?;
            records.push((task.id, record));
            wanted.insert(task.id, task);
        }
        let mut removed: BTreeSet<TaskId> = change.removed.into_iter().collect();
        if change.full {
            removed.extend(self.tasks.lock().keys().filter(|id| !wanted.contains_key(id)));
        }
        let removed: Vec<TaskId> = removed.into_iter().collect();
        self.parts.store.assign(&change.generation, &records, &removed);
        // A container is started only for a task that a restarted agent would know again.
        self.parts.store.flush().await?;
        {
            let mut tasks = self.tasks.lock();
            for (id, mut task) in wanted {
                let entry = tasks.entry(id).or_insert_with(|| Entry {
                    wanted: watch::Sender::default(),
                    idle: Some(Observed::NOTHING.into()),
                });
                // It only ever moves forward, whoever says otherwise.
                task.desired =
                    entry.wanted.borrow().desired().map_or(task.desired, |old| old.max(task.desired));
                entry.wanted.send_replace(Wanted(Some(Arc::new(task))));
            }
            for entry in removed.iter().filter_map(|id| tasks.get(id)) {
                entry.wanted.send_replace(Wanted(None));
            }
        }
        *self.held.lock() = change.generation;
        self.settle();
        Ok(())
    }

    /// Starts a runner for every idle task that has something to do.
    fn settle(self: &Arc<Self>) {
        let mut tasks = self.tasks.lock();
        let idle = || tasks.iter().filter_map(|(id, entry)| Some((id, entry, entry.idle.as_ref()?)));
        let assigned =
            idle().filter_map(|(id, entry, _)| Some((*id, entry.wanted.borrow().desired()?))).collect();
        let observed = idle().map(|(id, _, idle)| (*id, idle.seen)).collect();
        for (id, step) in plan(&assigned, &observed) {
            if step == Step::Wait {
                continue;
            }
            if let Some(entry) = tasks.get_mut(&id)
                && let Some(idle) = entry.idle.take()
            {
                runner::spawn(self.clone(), id, idle, entry.wanted.subscribe());
            }
        }
    }

    /// What the controller is told.
    pub fn reports(&self) -> Arc<Reports> {
        self.parts.reports.clone()
    }

    /// The name of a task that is assigned, by its id or name.
    pub fn find(&self, text: &str) -> Option<(TaskId, String)> {
        let tasks = self.tasks.lock();
        let mut named = tasks.iter().filter_map(|(id, entry)| Some((*id, entry.wanted.borrow().0.clone()?)));
        let found = named.find(|(id, task)| task.name == text || text.parse() == Ok(*id))?;
        Some((found.0, found.1.name.clone()))
    }

    /// Where a task's output is.
    pub fn log_path(&self, task: TaskId) -> PathBuf {
        self.parts.runtime.log_path(&task.to_string())
    }

    /// Whether a task's output has ended.
    pub fn has_ended(&self, task: TaskId) -> bool {
        self.parts.reports.get(task).is_none_or(|status| status.state.is_final())
    }

    /// Tasks by state, for tests and for people.
    pub fn states(&self) -> BTreeMap<TaskId, Option<TaskState>> {
        let ids: Vec<TaskId> = self.tasks.lock().keys().copied().collect();
        ids.into_iter().map(|id| (id, self.parts.reports.get(id).map(|status| status.state))).collect()
    }
}
