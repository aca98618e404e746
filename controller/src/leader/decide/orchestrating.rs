//! The orchestrators' decisions: on the services that something happened to, and on those whose time has come.

use wharf_cluster::{
    command::Command,
    event::Event,
    ids::Timestamp,
    orchestrator::{Agenda, Limits, reconcile},
    state::State,
};

/// The orchestrators of one leadership.
#[derive(Debug)]
pub struct Orchestrating {
    agenda: Agenda,
    limits: Limits,
}

impl Orchestrating {
    /// One that has looked at nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Orchestrating { agenda: Agenda::everything(), limits }
    }

    /// Notes an event that was applied and made `state`, or came before it.
    pub fn observe(&mut self, state: &State, event: &Event) {
        self.agenda.observe(state, event);
    }

    /// Anything may have changed.
    pub fn observe_everything(&mut self) {
        self.agenda = Agenda::everything();
    }

    /// Whether there is something to decide.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.agenda.is_due(now)
    }

    /// When there is something to decide, if nothing happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.agenda.next_wake()
    }

    /// What to propose, in this order. It is decided again on what comes of it, so the next call is for when all of
    /// it was applied, or refused.
    #[must_use]
    pub fn decide(&mut self, state: &State, now: Timestamp) -> Vec<Command> {
        let scope = self.agenda.take(state, now);
        let plan = reconcile(state, &scope, now, &self.limits);
        self.agenda.absorb(&plan);
        plan.commands
    }
}

impl Default for Orchestrating {
    fn default() -> Self {
        Orchestrating::new(Limits::default())
    }
}
