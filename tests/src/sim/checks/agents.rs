//! What happens on the nodes: containers hold their slots alone, stop only when that was ordered, and agents follow no
//! order older than one that they have followed.

use super::{Check, Checked, Reference, ensure};
use std::collections::{BTreeMap, BTreeSet};
use wharf_cluster::{
    event::Event,
    ids::{NodeId, ServiceId, TaskId},
    model::{NodeState, Order, ServiceSpec, Slot},
    state::State,
};
use wharf_proto::v1::Generation;

/// What is known of nodes and their containers.
#[derive(Debug, Default)]
pub struct Agents {
    places: BTreeMap<TaskId, (ServiceId, Slot)>,
    /// The containers that run, by slot, with the machine that they run on.
    running: BTreeMap<(ServiceId, Slot), BTreeMap<TaskId, usize>>,
    /// Tasks that were given up while they may have run: they may run beside their successors.
    excused: BTreeSet<TaskId>,
    /// Services that were ever updated by starting new tasks first.
    start_first: BTreeSet<ServiceId>,
    followed: BTreeMap<usize, (u64, u64, u64)>,
}

fn starts_first(spec: &ServiceSpec) -> bool {
    spec.update.order == Order::StartFirst || spec.rollback.order == Order::StartFirst
}

impl Agents {
    /// A command did `events`, and made `state`.
    pub fn executed(&mut self, state: &State, events: &[Event]) {
        for event in events {
            match event {
                Event::ServiceCreated { id, spec, .. } | Event::ServiceUpdated { id, spec, .. }
                    if starts_first(spec) =>
                {
                    self.start_first.insert(*id);
                }
                Event::TaskCreated { id, service, slot, .. } => {
                    self.places.insert(*id, (*service, *slot));
                }
                Event::TaskEnded { id, orphaned: true, .. } => {
                    self.excused.insert(*id);
                }
                Event::NodeStateChanged { node, state: NodeState::Down, .. } => self.excuse(state, *node),
                _ => {}
            }
        }
    }

    fn excuse(&mut self, state: &State, node: NodeId) {
        self.excused.extend(state.load(node).tasks);
    }

    /// A container runs from now on.
    ///
    /// # Errors
    /// When another one holds its slot.
    pub fn started(&mut self, machine: usize, task: TaskId) -> Checked {
        let Some(place) = self.places.get(&task).copied() else { return Ok(()) };
        let running = self.running.entry(place).or_default();
        running.insert(task, machine);
        if self.start_first.contains(&place.0) || self.excused.contains(&task) {
            return Ok(());
        }
        let other = running.iter().find(|(other, _)| **other != task && !self.excused.contains(other));
        ensure(other.is_none(), Check::SlotHeldTwice, || {
            format!(
                "slot {} of service {}: task {task} runs on machine {machine} beside {other:?}",
                place.1, place.0
            )
        })
    }

    /// A container has ended.
    pub fn ended(&mut self, task: TaskId) {
        let Some(place) = self.places.get(&task) else { return };
        if let Some(running) = self.running.get_mut(place) {
            running.remove(&task);
            if running.is_empty() {
                self.running.remove(place);
            }
        }
    }

    /// An agent stops a container.
    ///
    /// # Errors
    /// When the task is wanted.
    pub fn stops(&self, reference: &Reference, machine: usize, task: TaskId) -> Checked {
        let known = reference.newest().and_then(|state| state.task(task));
        let wanted = known.filter(|task| task.is_wanted());
        ensure(wanted.is_none(), Check::StoppedUnasked, || {
            format!(
                "machine {machine} stops {:?}",
                wanted.map(|task| (task.id, task.desired, task.status.state))
            )
        })
    }

    /// An agent acts on an assignment.
    ///
    /// # Errors
    /// When it has acted on a newer one.
    pub fn follows(&mut self, machine: usize, generation: &Generation) -> Checked {
        let now = (generation.term, generation.session, generation.sequence);
        let before = self.followed.insert(machine, now).unwrap_or_default();
        ensure(now > before, Check::OldGeneration, || {
            format!("machine {machine} follows {now:?} after {before:?}")
        })
    }

    /// A node's machine is given to a new node.
    pub fn forget(&mut self, machine: usize) {
        self.followed.remove(&machine);
    }
}
