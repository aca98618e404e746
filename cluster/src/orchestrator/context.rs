//! What every orchestrator asks about the service that it looks at.

use super::Limits;
use crate::{
    feasibility::{Candidate, fits},
    ids::{NodeId, Timestamp},
    model::{
        Availability, DesiredState, NodeState, Order, RolloutState, Service, Slot, Task, TaskTemplate,
        UpdateConfig,
    },
    state::State,
};
use std::sync::Arc;

/// A service, the state around it, and the time.
pub(super) struct Context<'a> {
    pub(super) state: &'a State,
    pub(super) service: &'a Service,
    pub(super) now: Timestamp,
    pub(super) limits: &'a Limits,
}

/// A slot with its tasks, oldest first; ended ones included.
pub(super) struct SlotTasks<'a> {
    pub(super) slot: Slot,
    pub(super) tasks: Vec<&'a Arc<Task>>,
}

impl<'a> SlotTasks<'a> {
    /// The tasks that should become ready or running, and have not ended.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &'a Arc<Task>> {
        self.tasks.iter().copied().filter(|task| task.is_wanted())
    }

    /// The tasks that ended by themselves, and whose end nothing followed from yet.
    pub(super) fn unhandled(&self) -> impl Iterator<Item = &'a Arc<Task>> {
        let told = |task: &Task| task.desired > DesiredState::Running;
        self.tasks.iter().copied().filter(move |task| task.is_final() && !told(task))
    }

    /// Whether the whole slot is on its way out.
    pub(super) fn is_leaving(&self) -> bool {
        self.tasks.iter().all(|task| task.desired == DesiredState::Remove)
    }
}

impl<'a> Context<'a> {
    /// The service's slots that have tasks.
    pub(super) fn slots(&self) -> impl Iterator<Item = SlotTasks<'a>> {
        self.state.slots_of(self.service.id).map(|(slot, tasks)| SlotTasks { slot, tasks })
    }

    /// What tasks of a template version run.
    pub(super) fn template(&self, version: u64) -> Option<&'a TaskTemplate> {
        self.service.templates.get(&version).map(|template| &*template.spec)
    }

    /// Template version of the task that follows one of `version` in its slot. While a rollout is not through it
    /// alone takes slots to the new template: a restart must not spread one that may be bad.
    pub(super) fn successor(&self, version: u64) -> u64 {
        let through = match &self.service.rollout {
            None => true,
            Some(rollout) => matches!(rollout.state, RolloutState::Completed | RolloutState::RolledBack),
        };
        if through || !self.service.templates.contains_key(&version) {
            self.service.template
        } else {
            version
        }
    }

    /// How tasks are replaced now.
    pub(super) fn update(&self) -> &'a UpdateConfig {
        self.service.replacement()
    }

    /// Whether a rollout waits for people.
    pub(super) fn is_paused(&self) -> bool {
        let state = self.service.rollout.as_ref().map(|rollout| rollout.state);
        matches!(state, Some(RolloutState::Paused | RolloutState::RollbackPaused))
    }

    /// Whether the old task of a slot goes on while its successor starts.
    pub(super) fn starts_first(&self) -> bool {
        self.update().order == Order::StartFirst
    }

    /// When tasks of a template version began to be made for the reason that holds now: those before belong to an
    /// earlier time at which the service had the same template.
    pub(super) fn since(&self, version: u64) -> Timestamp {
        match &self.service.rollout {
            Some(rollout) if rollout.to == version => rollout.started,
            _ => Timestamp::default(),
        }
    }

    /// Whether a node may still run what it was given: nobody has declared it down or forgotten it.
    pub(super) fn is_reachable(&self, node: NodeId) -> bool {
        self.state.node(node).is_some_and(|node| node.status.state != NodeState::Down)
    }

    /// Whether `task` may hold its slot's place on a node that still runs it.
    pub(super) fn is_live(&self, task: &Task) -> bool {
        !task.is_final() && task.node.is_some_and(|node| self.is_reachable(node))
    }

    /// Whether `task`'s node is drained, or no longer one that the task may run on.
    pub(super) fn is_evicted(&self, task: &Task) -> bool {
        let Some(node) = task.node.and_then(|node| self.state.node(node)) else { return false };
        node.availability == Availability::Drained
            || self.template(task.template).is_some_and(|template| {
                let candidate = Candidate { template, service: self.service.id, slot: task.slot };
                fits(candidate, node).is_err()
            })
    }

    /// Whether `task` has to run elsewhere.
    pub(super) fn is_displaced(&self, task: &Task) -> bool {
        task.node.is_some_and(|node| !self.is_reachable(node)) || self.is_evicted(task)
    }

    /// How many tasks may be moved now: `limits.moves` in an interval, less those that were made within the last one
    /// because their slot's former task is on a node that was lost or drained.
    pub(super) fn moves_left(&self) -> usize {
        let is_left = |node: NodeId| {
            self.state.node(node).is_none_or(|node| {
                node.status.state == NodeState::Down || node.availability == Availability::Drained
            })
        };
        let lately = self
            .state
            .tasks_newest_first()
            .take_while(|task| self.now.since(task.created) < self.limits.move_interval);
        let moved = lately.filter(|task| {
            self.state.tasks_in(task.service, task.slot).any(|former| {
                former.id < task.id
                    && former.desired == DesiredState::Shutdown
                    && former.node.is_some_and(is_left)
            })
        });
        self.limits.moves.saturating_sub(moved.count())
    }
}
