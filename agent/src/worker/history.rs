//! Logs of tasks that have ended are kept until the tasks are forgotten, but not more of them than a node can bear.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use wharf_cluster::ids::TaskId;

use super::Worker;

/// Tasks that have ended whose logs are kept.
const KEPT: usize = 500;

/// Tasks that have ended, by when.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<BTreeSet<(u64, TaskId)>>);

impl History {
    /// A task has ended; gives the tasks whose logs are too many then.
    fn ended(&self, task: TaskId, at: u64) -> Vec<TaskId> {
        let mut all = self.0.lock();
        if !all.iter().any(|(_, known)| *known == task) {
            all.insert((at, task));
        }
        let mut too_many = Vec::new();
        while all.len() > KEPT {
            too_many.extend(all.pop_first().map(|(_, task)| task));
        }
        too_many
    }

    pub(super) fn forget(&self, task: TaskId) {
        self.0.lock().retain(|(_, known)| *known != task);
    }
}

impl Worker {
    /// Keeps the log of a task that has ended, and removes the oldest one if there are too many.
    pub(super) async fn keep_log(&self, task: TaskId, ended: u64) {
        for old in self.history.ended(task, ended) {
            if let Err(error) = self.parts.runtime.remove_logs(&old.to_string()).await {
                tracing::warn!(task = %old, %error, "can't remove an old log");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_logs_go_first() {
        let history = History::default();
        for n in 0..KEPT as u64 {
            assert!(history.ended(TaskId(n), 1000 - n).is_empty());
        }
        assert!(history.ended(TaskId(3), 0).is_empty(), "known already");
        assert_eq!(history.ended(TaskId(9999), 5000), [TaskId(KEPT as u64 - 1)]);
        history.forget(TaskId(0));
        assert!(history.ended(TaskId(8888), 5000).is_empty());
    }
}
