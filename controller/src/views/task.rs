//! Tasks.

use wharf_cluster::{
    model::{self, Slot, TaskState},
    state::State,
};
use wharf_proto::v1;

/// A task. One that isn't running says why: the scheduler's reason, or how the one before it ended.
#[must_use]
pub fn task(state: &State, task: &model::Task) -> v1::Task {
    let service = state.service(task.service);
    let node = task.node.and_then(|id| state.node(id));
    let status = &task.status;
    v1::Task {
        id: task.id.to_string(),
        name: state.task_name(task),
        service: service.map(|service| service.name.to_string()).unwrap_or_default(),
        stack: service.map(|service| service.name.stack.to_string()).unwrap_or_default(),
        slot: match task.slot {
            Slot::Replica(number) => number,
            Slot::Node(_) => 0,
        },
        node: node.map(|node| node.name.clone()).unwrap_or_default(),
        node_id: task.node.map(|id| id.to_string()).unwrap_or_default(),
        template: task.template,
        image: state.template_of(task).map(|template| template.container.image.clone()).unwrap_or_default(),
        state: status.state.to_string(),
        desired: task.desired.to_string(),
        message: message(state, task),
        created: task.created.0,
        since: status.since.0,
        started: status.started.map(|at| at.0),
        exit_code: status.exit.map(|exit| exit.code),
        oom_killed: status.exit.is_some_and(|exit| exit.oom_killed),
        pid: status.pid,
        ports: status
            .ports
            .iter()
            .map(|(published, target)| v1::PublishedPort {
                published: u32::from(*published),
                target: u32::from(*target),
            })
            .collect(),
        node_state: node.map(|node| node.status.state.to_string()).unwrap_or_default(),
        hold_until: task.hold_until.map(|at| at.0),
    }
}

fn message(state: &State, task: &model::Task) -> String {
    if !task.status.message.is_empty() {
        return task.status.message.to_string();
    }
    if task.node.is_none()
        && task.is_wanted()
        && let Some(why) =
            state.service(task.service).and_then(|service| service.unplaced.get(&task.template))
    {
        return why.to_string();
    }
    if task.is_wanted()
        && task.status.state < TaskState::Running
        && let Some(before) = ended_before(state, task)
    {
        let name = before.status.state.name();
        return match before.status.message.as_ref() {
            "" => format!("the one before {name}"),
            message => format!("the one before {name}: {message}"),
        };
    }
    String::new()
}

/// The task before this one in its slot, if it ended badly.
fn ended_before<'a>(state: &'a State, task: &model::Task) -> Option<&'a model::Task> {
    let before = state.tasks_in(task.service, task.slot).filter(|other| other.id < task.id).last()?;
    let badly = matches!(before.status.state, TaskState::Failed | TaskState::Rejected | TaskState::Orphaned);
    badly.then_some(&**before)
}
