//! The scheduler's decisions: whenever something wants a node, or the room for it has changed.

use wharf_cluster::{
    command::Command, event::Event, orchestrator::Agenda, scheduler::schedule, state::State,
};

/// The scheduler of one leadership.
#[derive(Debug)]
pub struct Scheduling {
    agenda: Agenda,
}

impl Default for Scheduling {
    /// One that has looked at nothing yet.
    fn default() -> Self {
        Scheduling { agenda: Agenda::everything() }
    }
}

impl Scheduling {
    /// Notes an event that was applied and made `state`, or came before it.
    pub fn observe(&mut self, state: &State, event: &Event) {
        self.agenda.observe(state, event);
    }

    /// Anything may have changed.
    pub fn observe_everything(&mut self) {
        self.agenda = Agenda::everything();
    }

    /// Whether there may be something to place.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.agenda.is_placement_due()
    }

    /// What to propose, in this order. The next call is for when all of it was applied, or refused.
    #[must_use]
    pub fn decide(&mut self, state: &State) -> Vec<Command> {
        let decisions = schedule(state);
        // A placement that is refused when it is applied is decided again; so is what exceeded the batch. The rest of
        // the agenda is the orchestrators'.
        let again = decisions.more || !decisions.placed.is_empty();
        self.agenda = if again { Agenda::everything() } else { Agenda::default() };
        decisions.commands()
    }
}
