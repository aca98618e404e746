//! What commands may do to tasks: forward only, and only onto nodes that have room for them.

use super::{Check, Checked, ensure};
use std::collections::{BTreeMap, BTreeSet};
use wharf_cluster::{
    event::Event,
    feasibility::{Candidate, eligible},
    ids::{NodeId, TaskId},
    model::{DesiredState, Protocol, Reservation, TaskState},
    state::State,
};

/// What is known of tasks.
#[derive(Debug, Default)]
pub struct Tasks {
    seen: BTreeMap<TaskId, (TaskState, DesiredState, Option<NodeId>, u64)>,
    highest_id: u64,
}

impl Tasks {
    /// A command did `events`, and made `state`.
    ///
    /// # Errors
    /// When it may not have.
    pub fn executed(&mut self, state: &State, events: &[Event]) -> Checked {
        for event in events {
            let id = match event {
                Event::TaskCreated { id, .. } => id.0,
                Event::ServiceCreated { id, .. } => id.0,
                Event::NodeRegistered { node } => node.id.0,
                _ => continue,
            };
            ensure(id > self.highest_id, Check::TaskWentBack, || format!("id {id} was used before"))?;
            self.highest_id = id;
        }
        let touched: BTreeSet<TaskId> = events.iter().filter_map(about).collect();
        for id in touched {
            match state.task(id) {
                Some(_) => self.goes_forward(state, id)?,
                None => drop(self.seen.remove(&id)),
            }
        }
        let placed: Vec<(TaskId, NodeId)> = events
            .iter()
            .filter_map(|event| match event {
                Event::TaskPlaced { id, node } => Some((*id, *node)),
                _ => None,
            })
            .collect();
        for (index, (id, node)) in placed.iter().enumerate() {
            let later = placed[index + 1..].iter().map(|(id, _)| *id).collect();
            placement_is_right(state, *id, *node, &later)?;
        }
        let nodes: BTreeSet<NodeId> = placed.iter().map(|(_, node)| *node).collect();
        nodes.into_iter().try_for_each(|node| holds_what_it_can(state, node))
    }

    fn goes_forward(&mut self, state: &State, id: TaskId) -> Checked {
        let Some(task) = state.task(id) else { return Ok(()) };
        let now = (task.status.state, task.desired, task.node, task.template);
        let Some((before, desired, node, template)) = self.seen.insert(id, now) else { return Ok(()) };
        let forward = before <= now.0 && !(before.is_final() && before != now.0);
        let same = (node.is_none() || node == now.2) && template == now.3;
        ensure(forward && desired <= now.1 && same, Check::TaskWentBack, || {
            format!(
                "task {id} was {before}, {desired}, on {node:?}, and is {}, {}, on {:?}",
                now.0, now.1, now.2
            )
        })
    }
}

/// The task that an event is about.
fn about(event: &Event) -> Option<TaskId> {
    match event {
        Event::TaskCreated { id, .. }
        | Event::TaskPending { id }
        | Event::TaskPlaced { id, .. }
        | Event::TaskDesired { id, .. }
        | Event::TaskEnded { id, .. }
        | Event::TaskRemoved { id } => Some(*id),
        Event::TaskReported { report } => Some(report.task),
        _ => None,
    }
}

/// `later` tasks were placed after this one.
fn placement_is_right(state: &State, id: TaskId, node: NodeId, later: &BTreeSet<TaskId>) -> Checked {
    let bad = |why: String| ensure(false, Check::BadPlacement, || format!("task {id} on node {node}: {why}"));
    let (Some(task), Some(there)) = (state.task(id), state.node(node)) else {
        return bad("one of them isn't there".to_owned());
    };
    let Some(template) = state.template_of(task) else { return bad("its template is gone".to_owned()) };
    let candidate = Candidate { template, service: task.service, slot: task.slot };
    if let Err(reason) = eligible(candidate, there) {
        return bad(reason.to_string());
    }
    let bound = template.placement.max_replicas_per_node as usize;
    let beside = state
        .tasks_of(task.service)
        .filter(|other| !other.is_final() && other.node == Some(node) && !later.contains(&other.id));
    if bound != 0 && beside.count() > bound {
        return bad(format!("more than {bound} of its service"));
    }
    Ok(())
}

/// Counts by hand, not by the state's own sums.
fn holds_what_it_can(state: &State, id: NodeId) -> Checked {
    let Some(node) = state.node(id) else { return Ok(()) };
    let mut reserved = Reservation::default();
    let mut ports: BTreeSet<(u16, Protocol)> = BTreeSet::new();
    for task in state.tasks().filter(|task| task.node == Some(id) && !task.is_final()) {
        let Some(template) = state.template_of(task) else { continue };
        reserved.memory += template.resources.reservations.memory;
        reserved.nano_cpus += template.resources.reservations.nano_cpus;
        for port in &template.container.ports {
            let free = port.published.is_none_or(|published| ports.insert((published, port.protocol)));
            ensure(free, Check::BadPlacement, || format!("a port of node {id} is given twice"))?;
        }
    }
    let machine = &node.description;
    let fits = reserved.memory <= machine.memory && reserved.nano_cpus <= machine.nano_cpus;
    ensure(fits, Check::BadPlacement, || {
        format!("node {id} has {} memory, and {} are reserved", machine.memory, reserved.memory)
    })
}
