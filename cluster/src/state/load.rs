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
    services: OrdMap<ServiceId, u32>,
}

impl NodeLoad {
    /// How many live tasks of `service` there are.
    #[must_use]
    pub fn tasks_of(&self, service: ServiceId) -> u32 {
        self.services.get(&service).copied().unwrap_or(0)
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
        *self.services.entry(service).or_insert(0) += 1;
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
            if let Some(published) = port.published {
                self.ports.remove(&(published, port.protocol));
            }
        }
        match self.services.get(&service).copied() {
            Some(count) if count > 1 => {
                self.services.insert(service, count - 1);
            }
            _ => {
                self.services.remove(&service);
            }
        }
    }
}
