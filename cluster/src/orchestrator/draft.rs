//! Collects what should be done, and makes commands of it in an order that is safe to be cut short anywhere.

use super::{Limits, Plan};
use crate::{
    command::{Command, NewTask},
    ids::{ServiceId, TaskId, Timestamp},
    model::{DesiredState, RolloutState, Slot, Task},
};
use std::{collections::BTreeMap, sync::Arc};

/// How many tasks one command speaks of at most: what one log entry should hold.
const CHUNK: usize = 5_000;

/// What should be done so far.
#[derive(Default)]
pub(super) struct Draft {
    desired: Vec<(TaskId, DesiredState)>,
    orphaned: Vec<TaskId>,
    created: Vec<NewTask>,
    removed: Vec<TaskId>,
    rollouts: Vec<Command>,
    forgotten: Vec<ServiceId>,
    wakes: BTreeMap<ServiceId, Timestamp>,
    /// How many moves are left; unknown until the first is wanted.
    moves: Option<usize>,
    creations: usize,
}

/// When a new task may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// As soon as it can.
    Now,
    /// When a supervisor lets it, not before the given time if there is one.
    Later(Option<Timestamp>),
}

impl Draft {
    /// Begins a service: its bound on new tasks is its own.
    pub(super) fn begin(&mut self, limits: &Limits) {
        self.creations = limits.creations;
    }

    /// Takes one of the moves that are left; `left` counts them when the first is wanted.
    pub(super) fn take_move(&mut self, left: impl FnOnce() -> usize) -> bool {
        let moves = self.moves.get_or_insert_with(left);
        let any = *moves > 0;
        *moves = moves.saturating_sub(1);
        any
    }

    /// Whether another task of this service may be made in this call.
    pub(super) fn may_create(&self) -> bool {
        self.creations > 0
    }

    pub(super) fn create(&mut self, service: ServiceId, slot: Slot, template: u64, start: Start) {
        let (desired, hold_until) = match start {
            Start::Now => (DesiredState::Running, None),
            Start::Later(hold_until) => (DesiredState::Ready, hold_until),
        };
        self.created.push(NewTask { service, slot, template, desired, hold_until });
        self.creations = self.creations.saturating_sub(1);
    }

    pub(super) fn desire(&mut self, task: &Task, desired: DesiredState) {
        if desired > task.desired {
            self.desired.push((task.id, desired));
        }
    }

    pub(super) fn orphan(&mut self, task: &Task) {
        self.orphaned.push(task.id);
    }

    pub(super) fn remove(&mut self, task: &Task) {
        self.removed.push(task.id);
    }

    pub(super) fn set_rollout(&mut self, service: ServiceId, to: u64, state: RolloutState, message: &str) {
        let message: Arc<str> = message.into();
        self.rollouts.push(Command::SetRollout { service, to, state, message });
    }

    pub(super) fn forget(&mut self, service: ServiceId) {
        self.forgotten.push(service);
    }

    /// Asks for another look at `service`.
    pub(super) fn wake(&mut self, service: ServiceId, at: Timestamp) {
        let wake = self.wakes.entry(service).or_insert(at);
        *wake = (*wake).min(at);
    }

    /// The commands. Tasks are told to stop before their successors are made, so that a leader that is lost between
    /// the two leaves a slot that its follower fills.
    pub(super) fn finish(self) -> Plan {
        let mut commands = Vec::new();
        let desired = self.desired.chunks(CHUNK);
        commands.extend(desired.map(|tasks| Command::SetDesired { tasks: tasks.to_vec() }));
        let orphaned = self.orphaned.chunks(CHUNK);
        commands.extend(orphaned.map(|tasks| Command::OrphanTasks { tasks: tasks.to_vec() }));
        let created = self.created.chunks(CHUNK);
        commands.extend(created.map(|tasks| Command::CreateTasks { tasks: tasks.to_vec() }));
        let removed = self.removed.chunks(CHUNK);
        commands.extend(removed.map(|tasks| Command::RemoveTasks { tasks: tasks.to_vec() }));
        commands.extend(self.rollouts);
        commands.extend(self.forgotten.into_iter().map(|service| Command::ForgetService { service }));
        Plan { commands, wakes: self.wakes.into_iter().collect() }
    }
}
