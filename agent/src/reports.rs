//! What the tasks' statuses are, and which of them the controller has still to be told.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use tokio::sync::Notify;
use wharf_cluster::ids::TaskId;
use wharf_proto::v1::TaskReport;

use crate::task::Status;

/// Statuses, and which are news. Only the newest of each task is kept: states go forward, and a controller takes one
/// that skips some.
#[derive(Debug, Default)]
pub struct Reports {
    inner: Mutex<Inner>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    statuses: BTreeMap<TaskId, Status>,
    news: BTreeSet<TaskId>,
}

impl Reports {
    /// Statuses that an earlier agent kept.
    pub fn new(statuses: impl IntoIterator<Item = (TaskId, Status)>) -> Self {
        let statuses: BTreeMap<TaskId, Status> = statuses.into_iter().collect();
        Reports {
            inner: Mutex::new(Inner { news: statuses.keys().copied().collect(), statuses }),
            wake: Notify::new(),
        }
    }

    /// A task's status.
    pub fn get(&self, task: TaskId) -> Option<Status> {
        self.inner.lock().statuses.get(&task).cloned()
    }

    /// A task's status is another one.
    pub fn set(&self, task: TaskId, status: Status) {
        let mut inner = self.inner.lock();
        inner.statuses.insert(task, status);
        inner.news.insert(task);
        drop(inner);
        self.wake.notify_one();
    }

    /// Nobody wants to know of a task any more.
    pub fn forget(&self, task: TaskId) {
        let mut inner = self.inner.lock();
        inner.statuses.remove(&task);
        inner.news.remove(&task);
    }

    /// Everything is to be told again: to a controller that may know nothing of it.
    pub fn renew(&self) {
        let mut inner = self.inner.lock();
        inner.news = inner.statuses.keys().copied().collect();
        drop(inner);
        self.wake.notify_one();
    }

    /// Waits for news, and takes up to `most` of them.
    pub async fn take(&self, most: usize) -> Vec<TaskReport> {
        loop {
            let taken = self.take_now(most);
            if !taken.is_empty() {
                return taken;
            }
            self.wake.notified().await;
        }
    }

    /// Up to `most` news, if there are any.
    pub fn take_now(&self, most: usize) -> Vec<TaskReport> {
        let mut inner = self.inner.lock();
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(task) = inner.news.pop_first()
        {
            taken.extend(inner.statuses.get(&task).map(|status| status.report(task)));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_cluster::model::TaskState;

    #[tokio::test]
    async fn only_the_newest_status_is_told_and_all_of_them_after_renewal() {
        let reports = Reports::default();
        for state in [TaskState::Accepted, TaskState::Preparing, TaskState::Running] {
            reports.set(TaskId(1), Status::new(state, ""));
        }
        reports.set(TaskId(2), Status::new(TaskState::Failed, "no"));
        let told = reports.take(10).await;
        let states: Vec<&str> = told.iter().map(|report| report.state.as_str()).collect();
        assert_eq!(states, ["running", "failed"]);
        assert!(reports.take_now(10).is_empty());
        reports.forget(TaskId(2));
        reports.renew();
        assert_eq!(reports.take(10).await.len(), 1);
    }
}
