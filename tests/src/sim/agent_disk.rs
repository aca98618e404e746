//! An agent's database: what was written and not yet flushed is lost with the process, from some write on.

use super::rng::Rng;
use std::collections::BTreeMap;
use wharf_agent::task::Status;
use wharf_cluster::ids::TaskId;
use wharf_proto::v1::{AssignedTask, Generation};

/// What the database holds.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The assigned tasks.
    pub tasks: BTreeMap<TaskId, AssignedTask>,
    /// How far tasks are.
    pub statuses: BTreeMap<TaskId, Status>,
    /// The newest generation that was followed.
    pub held: Generation,
}

/// One write, which gets there as a whole or not at all.
#[derive(Clone, Debug)]
pub enum Write {
    /// A change of the assignment.
    Assign {
        /// Its place in the order of changes.
        generation: Generation,
        /// Tasks that are new or further.
        changed: Vec<(TaskId, AssignedTask)>,
        /// Tasks that are not assigned any more.
        removed: Vec<TaskId>,
    },
    /// How far a task is.
    Status(TaskId, Status),
    /// A task is forgotten.
    Forget(TaskId),
}

impl Kept {
    fn apply(&mut self, write: Write) {
        match write {
            Write::Assign { generation, changed, removed } => {
                self.held = generation;
                self.tasks.extend(changed);
                for id in removed {
                    self.tasks.remove(&id);
                }
            }
            Write::Status(id, status) => drop(self.statuses.insert(id, status)),
            Write::Forget(id) => drop(self.statuses.remove(&id)),
        }
    }
}

/// The database of one agent.
#[derive(Debug, Default)]
pub struct AgentDisk {
    durable: Kept,
    written: Vec<Write>,
}

impl AgentDisk {
    /// Writes; not durable until flushed.
    pub fn write(&mut self, write: Write) {
        self.written.push(write);
    }

    /// How many writes a flush that begins now covers.
    #[must_use]
    pub fn covers(&self) -> usize {
        self.written.len()
    }

    /// A flush is done that covered so many writes; others may have been flushed meanwhile.
    pub fn flushed(&mut self, count: usize) {
        let count = count.min(self.written.len());
        for write in self.written.drain(..count) {
            self.durable.apply(write);
        }
    }

    /// The process is gone: the first few of the writes that were not flushed are there, the others are not.
    pub fn crash(&mut self, rng: &mut Rng) {
        let kept = rng.index(self.written.len() + 1);
        self.flushed(kept);
        self.written.clear();
    }

    /// What a new process finds.
    #[must_use]
    pub fn load(&self) -> &Kept {
        &self.durable
    }
}
