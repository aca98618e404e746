//! What a node carries: the sums that scheduling needs, kept as tasks come and go, so that it never has to count.

use crate::{
    ids::{ServiceId, TaskId},
    model::{Protocol, Reservation, TaskTemplate},
};
use imbl::{OrdMap, OrdSet};

/// What a node's live tasks (placed there, and not ended) take of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeLoad {
    /// The live tasks.
    pub tasks: OrdSet<TaskId>,
    /// The sum of their reservations.
    pub reserved: Reservation,
    /// Published ports that they asked for by number.
    pub ports: OrdMap<(u16, Protocol), TaskId>,
    services: OrdMap<ServiceId, Count>,
    stopping: OrdSet<TaskId>,
}

/// How many live tasks of a service a node has, and how many of those are told to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Count {
    live: u32,
    stopping: u32,
}

impl NodeLoad {
    /// How many live tasks of `service` there are, those that are told to stop included.
    #[must_use]
    pub fn tasks_of(&self, service: ServiceId) -> u32 {
        self.services.get(&service).map_or(0, |count| count.live)
    }

    /// How many live tasks of `service` there are that aren't told to stop: what spreading counts.
    #[must_use]
    pub fn wanted_of(&self, service: ServiceId) -> u32 {
        self.services.get(&service).map_or(0, |count| count.live - count.stopping)
    }

    /// How many live tasks there are that aren't told to stop.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.tasks.len() - self.stopping.len()
    }

    /// The services that have live tasks here.
    pub fn services(&self) -> impl Iterator<Item = ServiceId> {
        self.services.keys().copied()
    }

    /// Counts a task in.
    pub fn add(&mut self, task: TaskId, service: ServiceId, template: &TaskTemplate) {
        if self.tasks.insert(task).is_some() {
            return;
        }
        let wanted = template.resources.reservations;
        self.reserved.nano_cpus = self.reserved.nano_cpus.saturating_add(wanted.nano_cpus);
        self.reserved.memory = self.reserved.memory.saturating_add(wanted.memory);
        for port in &template.container.ports {
            if let Some(published) = port.published {
                self.ports.insert((published, port.protocol), task);
            }
        }
        self.services.entry(service).or_default().live += 1;
    }

    /// Notes that a task is told to stop. It takes its room until it has ended.
    pub fn stop(&mut self, task: TaskId, service: ServiceId) {
        if self.tasks.contains(&task) && self.stopping.insert(task).is_none() {
            self.services.entry(service).or_default().stopping += 1;
        }
    }

    /// Counts a task out.
    pub fn remove(&mut self, task: TaskId, service: ServiceId, template: &TaskTemplate) {
        if self.tasks.remove(&task).is_none() {
            return;
        }
        let wanted = template.resources.reservations;
        self.reserved.nano_cpus = self.reserved.nano_cpus.saturating_sub(wanted.nano_cpus);
        self.reserved.memory = self.reserved.memory.saturating_sub(wanted.memory);
        for port in &template.container.ports {
            if let Some(published) = port.published
                && self.ports.get(&(published, port.protocol)) == Some(&task)
            {
                self.ports.remove(&(published, port.protocol));
            }
        }
        let stopping = self.stopping.remove(&task).is_some();
        let Some(count) = self.services.get_mut(&service) else { return };
        count.live -= 1;
        count.stopping -= u32::from(stopping);
        if count.live == 0 {
            self.services.remove(&service);
        }
    }
}
