//! Whose logs are asked for.

use super::task::remark;
use tonic::Status;
use wharf_cluster::{
    ids::{ServiceId, TaskId},
    model::{Task, TaskState},
    state::State,
};
use wharf_proto::v1::LogEntry;

/// Whose logs are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// All tasks of a service, those that come too.
    Service(ServiceId),
    /// One task.
    Task(TaskId),
}

impl Target {
    /// What a service's full name, a task's name, or a task's id stands for.
    pub(super) fn find(state: &State, text: &str) -> Result<Self, Status> {
        let service = text.parse().ok().and_then(|name| state.service_named(&name));
        if let Some(service) = service {
            return Ok(Target::Service(service.id));
        }
        let named = || {
            let (service, _) = text.rsplit_once('.')?;
            let service = state.service_named(&service.parse().ok()?)?;
            state.tasks_of(service.id).filter(|task| state.task_name(task) == text).map(|task| task.id).max()
        };
        let by_id = || text.parse().ok().filter(|id| state.task(*id).is_some());
        named()
            .or_else(by_id)
            .map(Target::Task)
            .ok_or_else(|| Status::not_found(format!("there is no service or task {text}")))
    }

    /// The tasks that have something to read.
    pub(super) fn tasks(self, state: &State) -> Vec<TaskId> {
        match self {
            Target::Service(id) => {
                state.tasks_of(id).filter(|task| has_started(task)).map(|task| task.id).collect()
            }
            Target::Task(id) => {
                state.task(id).filter(|task| has_started(task)).map(|task| task.id).into_iter().collect()
            }
        }
    }

    /// Whether nothing can follow.
    pub(super) fn is_over(self, state: &State) -> bool {
        match self {
            Target::Service(id) => state.service(id).is_none(),
            Target::Task(id) => state.task(id).is_none_or(|task| task.is_final()),
        }
    }

    /// What to say when there is nothing to read.
    pub(super) fn why_silent(self, state: &State, tasks: &[TaskId]) -> Option<LogEntry> {
        if !tasks.is_empty() {
            return None;
        }
        match self {
            Target::Service(_) => Some(remark("", "", "no task has started yet")),
            Target::Task(id) => {
                let task = state.task(id)?;
                let shown = crate::views::task(state, task);
                let why = if shown.message.is_empty() { shown.state } else { shown.message };
                Some(remark(&shown.name, &shown.node, &format!("the task has not started: {why}")))
            }
        }
    }
}

fn has_started(task: &Task) -> bool {
    let state = task.status.state;
    task.node.is_some()
        && (task.status.started.is_some() || state == TaskState::Starting || state == TaskState::Running)
}
