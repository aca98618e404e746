//! Commands about tasks: batches whose parts stand for themselves. What no longer applies is left out, because the
//! leader's loops decide on a state that may have moved on before their command is applied.

use crate::{
    command::{NewTask, TaskReport},
    event::Event,
    feasibility::{Candidate, feasible},
    ids::{NodeId, ServiceId, TaskId},
    model::{DesiredState, NodeState, Slot, TaskState},
    planted::{self, Bug},
    state::{NodeLoad, State},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// New tasks, unless their slot already has one that is wanted and runs the same template. Where another one may run
/// they wait.
pub(super) fn create(state: &State, tasks: &[NewTask]) -> Vec<Event> {
    let mut next_id = state.next_id;
    let mut made: BTreeSet<(ServiceId, Slot, u64)> = BTreeSet::new();
    let mut events = Vec::with_capacity(tasks.len());
    for task in tasks {
        let Some(service) = state.service(task.service) else { continue };
        let filled = state
            .tasks_in(task.service, task.slot)
            .any(|other| other.is_wanted() && other.template == task.template);
        let known = service.templates.contains_key(&task.template) && !service.removing;
        if filled || !known || task.desired > DesiredState::Running {
            continue;
        }
        if !made.insert((task.service, task.slot, task.template)) {
            continue;
        }
        // It was decided on an older view: whoever made the slot's other task meanwhile must not run beside it.
        let occupied = state.is_occupied(task.service, task.slot, None);
        events.push(Event::TaskCreated {
            id: TaskId(next_id),
            service: task.service,
            slot: task.slot,
            template: task.template,
            desired: if occupied { DesiredState::Ready } else { task.desired },
            hold_until: task.hold_until,
        });
        next_id += 1;
    }
    events
}

/// Nodes for tasks that still want one, where the placement is still feasible.
pub(super) fn place(state: &State, placements: &[(TaskId, NodeId)]) -> Vec<Event> {
    let mut loads: BTreeMap<NodeId, NodeLoad> = BTreeMap::new();
    let mut placed: BTreeSet<TaskId> = BTreeSet::new();
    let mut events = Vec::with_capacity(placements.len());
    for (id, node_id) in placements {
        let (Some(task), Some(node)) = (state.task(*id), state.node(*node_id)) else { continue };
        if task.node.is_some() || !task.is_wanted() || placed.contains(id) {
            continue;
        }
        let Some(template) = state.template_of(task) else { continue };
        let load = loads.entry(*node_id).or_insert_with(|| state.load(*node_id));
        let candidate = Candidate { template, service: task.service, slot: task.slot };
        if feasible(candidate, node, load).is_ok() || planted::is(Bug::PlacementUnchecked) {
            load.add(*id, task.service, template);
            placed.insert(*id);
            events.push(Event::TaskPlaced { id: *id, node: *node_id });
        }
    }
    events
}

/// Reasons why there is no node, where they are news; tasks that were `new` become `pending`.
pub(super) fn explain(state: &State, reasons: &[(ServiceId, u64, Option<Arc<str>>)]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut explained: BTreeSet<(ServiceId, u64)> = BTreeSet::new();
    for (id, template, reason) in reasons {
        let Some(service) = state.service(*id) else { continue };
        if reason.is_some() {
            explained.insert((*id, *template));
        }
        if service.unplaced.get(template) != reason.as_ref() && service.templates.contains_key(template) {
            events.push(Event::UnplacedExplained { id: *id, template: *template, reason: reason.clone() });
        }
    }
    let news = explained.iter().flat_map(|(service, template)| state.unplaced_in(*service, *template));
    let news = news.filter(|task| task.status.state == TaskState::New);
    events.extend(news.map(|task| Event::TaskPending { id: task.id }));
    events
}

/// What agents said, where it is theirs to say and goes forward.
pub(super) fn report(state: &State, reports: &[TaskReport]) -> Vec<Event> {
    let mut reached: BTreeMap<TaskId, TaskState> = BTreeMap::new();
    let mut events = Vec::with_capacity(reports.len());
    for report in reports {
        let Some(task) = state.task(report.task) else { continue };
        let from = reached.get(&report.task).copied().unwrap_or(task.status.state);
        let agents_range = report.state > TaskState::Assigned && report.state != TaskState::Orphaned;
        let goes_on = from.may_become(report.state) || planted::is(Bug::ReportsGoBack);
        if task.node == Some(report.node) && agents_range && goes_on {
            reached.insert(report.task, report.state);
            events.push(Event::TaskReported { report: report.clone() });
        }
    }
    events
}

/// How far tasks should go, where that is further. A task without a node has nobody to stop it, and has ended.
pub(super) fn set_desired(state: &State, tasks: &[(TaskId, DesiredState)]) -> Vec<Event> {
    let mut reached: BTreeMap<TaskId, DesiredState> = BTreeMap::new();
    let mut events = Vec::with_capacity(tasks.len());
    for (id, desired) in tasks {
        let Some(task) = state.task(*id) else { continue };
        let from = reached.get(id).copied().unwrap_or(task.desired);
        if *desired <= from {
            continue;
        }
        if *desired == DesiredState::Running && state.is_occupied(task.service, task.slot, Some(*id)) {
            continue;
        }
        reached.insert(*id, *desired);
        events.push(Event::TaskDesired { id: *id, desired: *desired });
        let stops = from <= DesiredState::Running && *desired > DesiredState::Running;
        if stops && task.node.is_none() && !task.is_final() {
            events.push(Event::TaskEnded { id: *id, orphaned: false, message: "never placed".into() });
        }
    }
    events
}

/// Forgets tasks that have ended.
pub(super) fn remove(state: &State, tasks: &[TaskId]) -> Vec<Event> {
    let tasks: BTreeSet<TaskId> = tasks.iter().copied().collect();
    tasks
        .into_iter()
        .filter(|id| state.task(*id).is_some_and(|task| task.is_final()))
        .map(|id| Event::TaskRemoved { id })
        .collect()
}

/// Gives up tasks whose node doesn't answer, or is gone.
pub(super) fn orphan(state: &State, tasks: &[TaskId]) -> Vec<Event> {
    let tasks: BTreeSet<TaskId> = tasks.iter().copied().collect();
    tasks
        .into_iter()
        .filter_map(|id| {
            let task = state.task(id)?;
            let node = state.node(task.node?);
            let answers = node.is_some_and(|node| node.status.state == NodeState::Ready);
            if task.is_final() || answers {
                return None;
            }
            let message = match node {
                Some(node) => format!("node {} has not answered for too long", node.name),
                None => "its node is gone".to_owned(),
            };
            Some(Event::TaskEnded { id, orphaned: true, message: message.into() })
        })
        .collect()
}
