//! Which tasks there should be: replicas, global services, jobs, restarts, rollouts, and what is forgotten.
//!
//! [`reconcile`] compares what the state says with what people asked for and answers with commands. It keeps nothing
//! between calls: everything it needs is in the state, so that a new leader goes on where the old one stopped.

mod agenda;
mod context;
mod draft;
mod global;
mod job;
mod reaper;
mod replicated;
mod restart;
mod rollout;

pub use agenda::{Agenda, Scope};

use crate::{
    command::Command,
    ids::{ServiceId, Timestamp},
    model::{Mode, Service},
    state::State,
};
use context::Context;
use draft::Draft;

/// Bounds on what the orchestrators do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many ended tasks of a slot are kept, so that people see what happened.
    pub history: usize,
    /// How many tasks one call moves away from nodes that are down or drained; the rest follows in the next calls.
    pub moves: usize,
    /// Time until the next call when `moves` was reached, in milliseconds.
    pub move_interval: u64,
    /// How long a node may be down before its tasks are given up, in milliseconds.
    pub orphan_after: u64,
    /// How many tasks of one service one call makes; the rest follows in the next calls.
    pub creations: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            history: 5,
            moves: 500,
            move_interval: 200,
            orphan_after: 24 * 60 * 60 * 1000,
            creations: 10_000,
        }
    }
}

/// What should be done, and when to look again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What to propose, in this order.
    pub commands: Vec<Command>,
    /// Which service to look at again, and when, though nothing may have happened by then.
    pub wakes: Vec<(ServiceId, Timestamp)>,
}

impl Plan {
    /// The earliest of `wakes`.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.wakes.iter().map(|(_, at)| *at).min()
    }
}

/// What should be done for the services in `scope`. Proposing a plan twice does no more than proposing it once.
#[must_use]
pub fn reconcile(state: &State, scope: &Scope, now: Timestamp, limits: &Limits) -> Plan {
    // The state's time is that of the newest command; a leader whose clock is behind it must not wait for itself.
    let now = now.max(state.now());
    let mut draft = Draft::default();
    let mut look = |service: &Service| {
        draft.begin(limits);
        service_tasks(&Context { state, service, now, limits }, &mut draft);
    };
    match scope {
        Scope::All => state.services().for_each(|service| look(service)),
        Scope::Services(ids) => ids.iter().filter_map(|id| state.service(*id)).for_each(|service| {
            look(service);
        }),
    }
    draft.finish()
}

fn service_tasks(context: &Context<'_>, draft: &mut Draft) {
    if context.service.removing {
        reaper::remove_service(context, draft);
        return;
    }
    match context.service.spec.mode {
        Mode::Replicated { replicas } => replicated::reconcile(context, replicas, draft),
        Mode::Global => global::reconcile(context, draft),
        Mode::ReplicatedJob { completions, concurrent } => {
            job::replicated(context, completions, concurrent, draft);
        }
        Mode::GlobalJob => job::global(context, draft),
    }
    reaper::reap(context, draft);
}
