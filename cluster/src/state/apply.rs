//! Applies an event. No decision is made here, and nothing can fail: what an event speaks of and isn't there is left out.

use super::{State, history};
use crate::{
    command::TaskReport,
    event::{Event, NewRollout},
    ids::{ServiceId, TaskId, Timestamp},
    model::{
        DesiredState, NodeStatus, Rollout, RolloutState, Service, ServiceSpec, Stack, Task, TaskState,
        TaskStatus, Template, VolumeSpec,
    },
};
use imbl::{OrdMap, OrdSet};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How many templates of a service are kept to go back to, besides those that tasks run.
const TEMPLATES_KEPT: usize = 10;

/// Applies `event` to `state`.
pub fn apply(state: &mut State, event: &Event) {
    if let Some(words) = history::words(state, event) {
        state.history.push(state.now, words);
    }
    match event {
        Event::ClusterInitialized { info } => state.cluster = Some(info.clone()),
        Event::TokenRotated { role, token } => {
            state.tokens.insert(*role, token.clone());
        }
        Event::LevelRaised { level } => state.level = *level,
        Event::ControllerRecorded { controller } => {
            count_id(state, controller.id.0);
            state.controllers.insert(controller.id, controller.clone());
        }
        Event::ControllerRemoved { controller } => {
            state.controllers.remove(controller);
        }
        Event::StackUpdated { stack, volumes } => update_stack(state, stack, volumes),
        Event::StackRemoved { stack } => {
            state.stacks.remove(stack);
        }
        Event::ServiceCreated { id, name, spec } => {
            count_id(state, id.0);
            state.service_names.insert(name.clone(), *id);
            state.services.insert(*id, Arc::new(new_service(*id, name.clone(), spec, state.now)));
        }
        Event::ServiceUpdated { id, spec, template, rollout } => {
            update_service(state, *id, spec, *template, *rollout);
        }
        Event::ServiceRemoving { id } => {
            if let Some(service) = change(&mut state.services, id) {
                service.removing = true;
                service.rollout = None;
                state.service_names.remove(&service.name);
            }
        }
        Event::ServiceRemoved { id } => {
            if let Some(service) = state.services.remove(id)
                && state.service_names.get(&service.name) == Some(id)
            {
                state.service_names.remove(&service.name);
            }
        }
        Event::RolloutChanged { id, rollout } => {
            if let Some(service) = change(&mut state.services, id) {
                service.rollout = Some(rollout.clone());
            }
        }
        Event::UnplacedExplained { id, template, reason } => {
            if let Some(service) = change(&mut state.services, id) {
                match reason {
                    Some(reason) => service.unplaced.insert(*template, reason.clone()),
                    None => service.unplaced.remove(template),
                };
            }
        }
        Event::NodeRegistered { node } => {
            count_id(state, node.id.0);
            state.node_names.insert(node.name.as_str().into(), node.id);
            state.nodes.insert(node.id, Arc::new(node.clone()));
        }
        Event::NodeRemoved { node } => {
            if let Some(node) = state.nodes.remove(node) {
                state.node_names.remove(node.name.as_str());
            }
        }
        Event::NodeDescribed { node, description } => {
            if let Some(node) = change(&mut state.nodes, node) {
                node.description = description.clone();
            }
        }
        Event::NodeStateChanged { node, state: to, message } => {
            let now = state.now;
            if let Some(node) = change(&mut state.nodes, node) {
                node.status = NodeStatus { state: *to, since: now, message: message.clone() };
            }
        }
        Event::AvailabilityChanged { node, availability } => {
            if let Some(node) = change(&mut state.nodes, node) {
                node.availability = *availability;
            }
        }
        Event::NodeLabelled { node, labels } => {
            if let Some(node) = change(&mut state.nodes, node) {
                node.labels = labels.clone();
            }
        }
        Event::TaskCreated { id, service, slot, template, desired, hold_until } => {
            count_id(state, id.0);
            let status = TaskStatus {
                state: TaskState::New,
                since: state.now,
                message: Arc::default(),
                exit: None,
                started: None,
                running: None,
                pid: None,
                ports: Vec::new(),
            };
            let task = Task {
                id: *id,
                service: *service,
                slot: *slot,
                template: *template,
                node: None,
                desired: *desired,
                status,
                created: state.now,
                hold_until: *hold_until,
            };
            state.slots.insert((*service, *slot, *id));
            state.unplaced.entry((*service, *template)).or_default().insert(*id);
            state.tasks.insert(*id, Arc::new(task));
        }
        Event::TaskPending { id } => {
            let now = state.now;
            if let Some(task) = change(&mut state.tasks, id) {
                task.status.state = TaskState::Pending;
                task.status.since = now;
            }
        }
        Event::TaskPlaced { id, node } => {
            let now = state.now;
            if let Some(task) = change(&mut state.tasks, id) {
                task.node = Some(*node);
                task.status.state = TaskState::Assigned;
                task.status.since = now;
                take_unplaced(&mut state.unplaced, task);
                count_load(state, *id, true);
            }
        }
        Event::TaskDesired { id, desired } => {
            if let Some(task) = change(&mut state.tasks, id) {
                task.desired = *desired;
                if *desired > DesiredState::Running {
                    take_unplaced(&mut state.unplaced, task);
                    if let Some(load) = task.node.and_then(|node| state.loads.get_mut(&node)) {
                        load.stop(*id, task.service);
                    }
                }
            }
        }
        Event::TaskReported { report } => report_task(state, report),
        Event::TaskEnded { id, orphaned, message } => {
            count_load(state, *id, false);
            let now = state.now;
            if let Some(task) = change(&mut state.tasks, id) {
                take_unplaced(&mut state.unplaced, task);
                task.status.state = if *orphaned { TaskState::Orphaned } else { TaskState::Shutdown };
                task.status.since = now;
                task.status.message = message.clone();
            }
        }
        Event::TaskRemoved { id } => remove_task(state, *id),
    }
}

/// The value behind `key`, made this state's own, to be changed.
fn change<'a, K: Ord + Clone, V: Clone>(map: &'a mut imbl::OrdMap<K, Arc<V>>, key: &K) -> Option<&'a mut V> {
    map.get_mut(key).map(Arc::make_mut)
}

fn count_id(state: &mut State, id: u64) {
    state.next_id = state.next_id.max(id + 1);
}

fn update_stack(state: &mut State, name: &Arc<str>, volumes: &BTreeMap<String, VolumeSpec>) {
    let now = state.now;
    if let Some(stack) = change(&mut state.stacks, name) {
        stack.version += 1;
        stack.updated = now;
        stack.volumes.clone_from(volumes);
    } else {
        let stack = Stack {
            name: name.to_string(),
            version: 1,
            volumes: volumes.clone(),
            created: now,
            updated: now,
        };
        state.stacks.insert(name.clone(), Arc::new(stack));
    }
}

fn new_service(
    id: ServiceId,
    name: crate::model::ServiceName,
    spec: &Arc<ServiceSpec>,
    now: Timestamp,
) -> Service {
    let template = Template { spec: Arc::new(spec.template.clone()), created: now };
    Service {
        id,
        name,
        version: 1,
        spec: spec.clone(),
        template: 1,
        templates: imbl::OrdMap::unit(1, template),
        rollout: None,
        unplaced: imbl::OrdMap::new(),
        removing: false,
        created: now,
        updated: now,
    }
}

fn update_service(
    state: &mut State,
    id: ServiceId,
    spec: &Arc<ServiceSpec>,
    template: u64,
    rollout: Option<NewRollout>,
) {
    let now = state.now;
    let in_use: BTreeSet<u64> = state.tasks_of(id).map(|task| task.template).collect();
    let Some(service) = change(&mut state.services, &id) else { return };
    service.version += 1;
    service.updated = now;
    service.spec = spec.clone();
    if let Some(rollout) = rollout {
        service.rollout = Some(Rollout {
            state: match rollout {
                NewRollout::Update => RolloutState::Updating,
                NewRollout::Rollback => RolloutState::RollingBack,
            },
            from: last_good(service, template),
            to: template,
            started: now,
            since: now,
            message: "".into(),
        });
    }
    service
        .templates
        .entry(template)
        .or_insert_with(|| Template { spec: Arc::new(spec.template.clone()), created: now });
    let kept_from = service.templates.keys().rev().nth(TEMPLATES_KEPT - 1).copied().unwrap_or(0);
    let from = service.rollout.as_ref().map_or(template, |rollout| rollout.from);
    service.template = template;
    service.templates = service
        .templates
        .iter()
        .filter(|(version, _)| {
            **version >= kept_from || **version == template || **version == from || in_use.contains(version)
        })
        .map(|(version, template)| (*version, template.clone()))
        .collect();
    let templates = service.templates.clone();
    service.unplaced = service
        .unplaced
        .iter()
        .filter(|(version, _)| templates.contains_key(*version))
        .map(|(version, reason)| (*version, reason.clone()))
        .collect();
}

/// The version to go back to from `to`: the one before, unless that was itself on its way and never came through.
fn last_good(service: &Service, to: u64) -> u64 {
    match &service.rollout {
        Some(rollout)
            if matches!(rollout.state, RolloutState::Updating | RolloutState::Paused)
                && rollout.from != to =>
        {
            rollout.from
        }
        _ => service.template,
    }
}

fn report_task(state: &mut State, report: &TaskReport) {
    let now = state.now;
    if report.state.is_final() {
        count_load(state, report.task, false);
    }
    let Some(task) = change(&mut state.tasks, &report.task) else { return };
    let status = &mut task.status;
    if status.started.is_none() && matches!(report.state, TaskState::Starting | TaskState::Running) {
        status.started = Some(report.at);
    }
    if status.running.is_none() && report.state == TaskState::Running {
        status.running = Some(now);
    }
    status.state = report.state;
    status.since = now;
    status.message = report.message.clone();
    status.exit = report.exit.or(status.exit);
    status.pid = if report.state.is_final() { None } else { report.pid.or(status.pid) };
    if !report.ports.is_empty() {
        status.ports.clone_from(&report.ports);
    }
}

fn remove_task(state: &mut State, id: TaskId) {
    count_load(state, id, false);
    let Some(task) = state.tasks.remove(&id) else { return };
    take_unplaced(&mut state.unplaced, &task);
    state.slots.remove(&(task.service, task.slot, id));
}

/// Takes a task off the list of those that want a node.
fn take_unplaced(unplaced: &mut OrdMap<(ServiceId, u64), OrdSet<TaskId>>, task: &Task) {
    let key = (task.service, task.template);
    if let Some(tasks) = unplaced.get_mut(&key) {
        tasks.remove(&task.id);
        if tasks.is_empty() {
            unplaced.remove(&key);
        }
    }
}

/// Counts a placed task in or out of its node's load. Counting twice changes nothing.
fn count_load(state: &mut State, id: TaskId, add: bool) {
    let Some(task) = state.tasks.get(&id).cloned() else { return };
    let (Some(node), Some(template)) = (task.node, state.template_of(&task).cloned()) else { return };
    let load = state.loads.entry(node).or_default();
    if add {
        load.add(id, task.service, &template);
    } else {
        load.remove(id, task.service, &template);
    }
    if load.tasks.is_empty() {
        state.loads.remove(&node);
    }
}
