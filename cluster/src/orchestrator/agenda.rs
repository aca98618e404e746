//! What a leader has to look at: the services that something happened to, and those whose time has come. It keeps a
//! leader with a million tasks from looking at all of them after each event.

use super::Plan;
use crate::{
    event::Event,
    ids::{NodeId, ServiceId, TaskId, Timestamp},
    planted::{self, Bug},
    state::State,
};
use std::collections::{BTreeMap, BTreeSet};

/// Which services to reconcile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every one.
    All,
    /// These.
    Services(BTreeSet<ServiceId>),
}

/// What is to be looked at, and when.
#[derive(Clone, Debug, Default)]
pub struct Agenda {
    all: bool,
    globals: bool,
    placement: bool,
    services: BTreeSet<ServiceId>,
    wakes: BTreeMap<ServiceId, Timestamp>,
}

impl Agenda {
    /// Everything: for one who has just become leader, or has restored a snapshot.
    #[must_use]
    pub fn everything() -> Self {
        Agenda { all: true, placement: true, ..Agenda::default() }
    }

    /// Notes what `event`, which has just been applied and made `state`, touches.
    ///
    /// A removed task's service is only known before the event; its orchestrator has nothing left to do for it, except
    /// that a service without tasks can be forgotten, which [`Agenda::absorb`] sees to.
    pub fn observe(&mut self, state: &State, event: &Event) {
        match event {
            Event::ServiceCreated { id, .. }
            | Event::ServiceUpdated { id, .. }
            | Event::ServiceRemoving { id }
            | Event::RolloutChanged { id, .. } => {
                self.services.insert(*id);
                self.placement = true;
            }
            Event::ServiceRemoved { id } => {
                self.services.remove(id);
                self.wakes.remove(id);
            }
            Event::NodeStateChanged { .. } if planted::is(Bug::LostNodeOverlooked) => {}
            Event::NodeRegistered { node } => self.node(state, node.id),
            Event::NodeRemoved { node }
            | Event::NodeDescribed { node, .. }
            | Event::NodeStateChanged { node, .. }
            | Event::AvailabilityChanged { node, .. }
            | Event::NodeLabelled { node, .. } => self.node(state, *node),
            Event::TaskCreated { service, .. } => {
                self.services.insert(*service);
                self.placement = true;
            }
            Event::TaskReported { report } => {
                self.task(state, report.task);
                self.placement |= report.state.is_final();
            }
            Event::TaskDesired { id, .. } | Event::TaskEnded { id, .. } => {
                self.task(state, *id);
                self.placement = true;
            }
            Event::TaskPlaced { id, .. } => self.task(state, *id),
            Event::TaskRemoved { .. }
            | Event::TaskPending { .. }
            | Event::UnplacedExplained { .. }
            | Event::ClusterInitialized { .. }
            | Event::TokenRotated { .. }
            | Event::LevelRaised { .. }
            | Event::ControllerRecorded { .. }
            | Event::ControllerRemoved { .. }
            | Event::StackUpdated { .. }
            | Event::StackRemoved { .. } => {}
        }
    }

    /// Notes when the services of `plan` are to be looked at again.
    pub fn absorb(&mut self, plan: &Plan) {
        for (service, at) in &plan.wakes {
            let wake = self.wakes.entry(*service).or_insert(*at);
            *wake = (*wake).min(*at);
        }
    }

    /// Whether [`Agenda::take`] has something to give.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.all
            || self.globals
            || !self.services.is_empty()
            || self.next_wake().is_some_and(|wake| wake <= now)
    }

    /// When a service's time comes, if nothing happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.wakes.values().min().copied()
    }

    /// What to reconcile now; it is off the agenda then.
    pub fn take(&mut self, state: &State, now: Timestamp) -> Scope {
        if self.all {
            *self = Agenda { placement: self.placement, ..Agenda::default() };
            return Scope::All;
        }
        let mut services = std::mem::take(&mut self.services);
        if std::mem::take(&mut self.globals) {
            let globals = state.services().filter(|service| service.spec.mode.is_global());
            services.extend(globals.map(|service| service.id));
        }
        let due = self.wakes.iter().filter(|(_, at)| **at <= now).map(|(service, _)| *service);
        services.extend(due);
        self.wakes.retain(|service, _| !services.contains(service));
        Scope::Services(services)
    }

    /// Whether the scheduler has something to look at.
    #[must_use]
    pub fn is_placement_due(&self) -> bool {
        self.placement
    }

    fn task(&mut self, state: &State, id: TaskId) {
        if let Some(task) = state.task(id) {
            self.services.insert(task.service);
        }
    }

    fn node(&mut self, state: &State, id: NodeId) {
        self.globals = true;
        self.placement = true;
        if let Some(load) = state.load_of(id) {
            self.services.extend(load.services());
        }
    }
}
