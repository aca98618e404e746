//! What must hold after every step, whatever happens.

use super::Agent;
use std::collections::{BTreeMap, BTreeSet};
use wharf_cluster::{
    event::Event,
    feasibility::{Candidate, eligible},
    ids::{NodeId, ServiceId, TaskId},
    model::{DesiredState, NodeState, Order, Reservation, Slot, TaskState},
    state::{NodeLoad, State},
};

/// What was seen before.
#[derive(Default)]
pub struct Invariants {
    seen: BTreeMap<TaskId, (TaskState, DesiredState, Option<NodeId>, u64)>,
    highest_id: u64,
    /// Tasks whose node was declared down while they ran: they may run beside their successors.
    excused: BTreeSet<TaskId>,
    /// Services that were ever updated by starting new tasks first.
    start_first: BTreeSet<ServiceId>,
}

impl Invariants {
    pub fn check(&mut self, state: &State, events: &[Event], agents: &BTreeMap<NodeId, Agent>) {
        self.ids_are_new(events);
        self.tasks_go_forward(state);
        loads_are_sums(state);
        nodes_hold_what_they_can(state);
        let placed = |event: &Event| match event {
            Event::TaskPlaced { id, node } => Some((*id, *node)),
            _ => None,
        };
        for (index, event) in events.iter().enumerate() {
            if let Some((id, node)) = placed(event) {
                let later = events[index + 1..].iter().filter_map(placed).map(|(id, _)| id).collect();
                placement_is_right(state, id, node, &later);
            }
        }
        self.slots_run_one_task(state, agents);
    }

    fn ids_are_new(&mut self, events: &[Event]) {
        for event in events {
            let id = match event {
                Event::TaskCreated { id, .. } => id.0,
                Event::ServiceCreated { id, .. } => id.0,
                Event::NodeRegistered { node } => node.id.0,
                _ => continue,
            };
            assert!(id > self.highest_id || self.highest_id == 0, "id {id} was used before");
            self.highest_id = id;
        }
    }

    fn tasks_go_forward(&mut self, state: &State) {
        for task in state.tasks() {
            let now = (task.status.state, task.desired, task.node, task.template);
            if let Some((before, desired, node, template)) = self.seen.insert(task.id, now) {
                assert!(before <= now.0 && !(before.is_final() && before != now.0), "{task:?} was {before}");
                assert!(desired <= now.1, "{task:?} was desired {desired}");
                assert!(node.is_none() || node == now.2, "{task:?} was on {node:?}");
                assert_eq!(template, now.3);
            }
        }
    }

    fn slots_run_one_task(&mut self, state: &State, agents: &BTreeMap<NodeId, Agent>) {
        let starts_first = state.services().filter(|service| {
            service.spec.update.order == Order::StartFirst || service.spec.rollback.order == Order::StartFirst
        });
        self.start_first.extend(starts_first.map(|service| service.id));
        let is_down = |id| state.node(id).is_none_or(|node| node.status.state == NodeState::Down);
        let mut running: BTreeMap<(ServiceId, Slot), Vec<TaskId>> = BTreeMap::new();
        for agent in agents.values() {
            let lost = is_down(agent.node);
            for (id, at) in &agent.tasks {
                if lost {
                    self.excused.insert(*id);
                }
                let runs = matches!(at, TaskState::Starting | TaskState::Running);
                if let Some(task) = state.task(*id)
                    && runs
                    && !self.excused.contains(id)
                {
                    running.entry((task.service, task.slot)).or_default().push(*id);
                }
            }
        }
        for ((service, slot), tasks) in running {
            let tasks: Vec<_> = tasks.into_iter().filter_map(|id| state.task(id)).collect();
            let starts_first = self.start_first.contains(&service);
            assert!(tasks.len() < 2 || starts_first, "slot {slot} runs {tasks:#?}");
        }
    }
}

fn loads_are_sums(state: &State) {
    let mut counted: BTreeMap<NodeId, NodeLoad> = BTreeMap::new();
    for task in state.tasks().filter(|task| !task.is_final()) {
        let Some(node) = task.node else { continue };
        let load = counted.entry(node).or_default();
        load.add(task.id, task.service, state.template_of(task).expect("kept while in use"));
        if task.desired > DesiredState::Running {
            load.stop(task.id, task.service);
        }
    }
    let kept: BTreeMap<NodeId, NodeLoad> = state.loads().map(|(node, load)| (node, load.clone())).collect();
    assert_eq!(kept, counted);
    let unplaced: BTreeSet<TaskId> = state.unplaced_tasks().map(|task| task.id).collect();
    let recounted: BTreeSet<TaskId> =
        state.tasks().filter(|task| task.node.is_none() && task.is_wanted()).map(|task| task.id).collect();
    assert_eq!(unplaced, recounted);
}

/// Counts by hand, not by `NodeLoad`.
fn nodes_hold_what_they_can(state: &State) {
    let mut reserved: BTreeMap<NodeId, Reservation> = BTreeMap::new();
    let mut ports = BTreeSet::new();
    for task in state.tasks().filter(|task| !task.is_final()) {
        let Some(id) = task.node else { continue };
        let Some(node) = state.node(id) else { continue };
        let template = state.template_of(task).expect("kept while in use");
        let sum = reserved.entry(id).or_default();
        sum.memory += template.resources.reservations.memory;
        sum.nano_cpus += template.resources.reservations.nano_cpus;
        assert!(sum.memory <= node.description.memory, "{} has too little memory", node.name);
        assert!(sum.nano_cpus <= node.description.nano_cpus, "{} has too few cpus", node.name);
        for port in &template.container.ports {
            if let Some(published) = port.published {
                assert!(ports.insert((id, published, port.protocol)), "port {published} given twice");
            }
        }
    }
}

/// `later` tasks were placed after this one.
fn placement_is_right(state: &State, id: TaskId, node: NodeId, later: &BTreeSet<TaskId>) {
    let task = state.task(id).expect("just placed");
    let template = state.template_of(task).expect("kept while in use");
    let candidate = Candidate { template, service: task.service, slot: task.slot };
    assert_eq!(eligible(candidate, state.node(node).expect("there")), Ok(()));
    let bound = template.placement.max_replicas_per_node as usize;
    let there = state
        .tasks_of(task.service)
        .filter(|other| !other.is_final() && other.node == Some(node) && !later.contains(&other.id));
    assert!(bound == 0 || there.count() <= bound, "{bound} tasks a node exceeded");
}
