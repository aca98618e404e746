//! What follows when a slot's task ends or loses its node: the restart policy, and when a waiting task may run.

use super::{
    context::{Context, SlotTasks},
    draft::{Draft, Start},
};
use crate::{
    ids::Timestamp,
    model::{DesiredState, RestartCondition, Task, TaskState},
};

/// Restarts beyond this many can't be counted from the bounded history, and are as good as restarting for ever.
pub(super) const MOST_ATTEMPTS: u32 = 1_000;

/// How a slot was found, and left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tended {
    /// It has a task.
    Kept,
    /// Its task is being replaced, or has to wait for that.
    Changed,
    /// Its task has ended, and none follows.
    Done,
}

/// Sees to it that a slot has a task: replaces one whose node is lost, restarts one that ended, lets a waiting one run.
pub(super) fn tend(context: &Context<'_>, slot: &SlotTasks<'_>, draft: &mut Draft) -> Tended {
    let (displaced, kept): (Vec<_>, Vec<_>) = slot.wanted().partition(|task| context.is_displaced(task));
    if let Some(first) = displaced.first() {
        if !draft.take_move(|| context.moves_left()) {
            draft.wake(context.service.id, context.now.plus(context.limits.move_interval));
            return Tended::Changed;
        }
        for task in &displaced {
            draft.desire(task, DesiredState::Shutdown);
        }
        if kept.is_empty() {
            let version = context.successor(first.template);
            let hold = first.hold_until.filter(|until| *until > context.now);
            draft.create(context.service.id, slot.slot, version, start(context, slot, hold));
        }
        return Tended::Changed;
    }
    if kept.is_empty() {
        return refill(context, slot, draft);
    }
    promote(context, slot, draft);
    Tended::Kept
}

/// Makes the task that follows in a slot where none is wanted.
pub(super) fn refill(context: &Context<'_>, slot: &SlotTasks<'_>, draft: &mut Draft) -> Tended {
    let Some(latest) = slot.tasks.last() else { return Tended::Done };
    // The oldest one held the slot; a younger one may have been the vain attempt to follow it.
    let holder = slot.unhandled().next();
    let at = match holder {
        Some(ended) => match next_start(context, slot, ended) {
            Some(at) => at,
            None => return Tended::Done,
        },
        None => context.now,
    };
    if !draft.may_create() {
        draft.wake(context.service.id, context.now);
        return Tended::Changed;
    }
    let version = context.successor(holder.unwrap_or(latest).template);
    let hold = (at > context.now).then_some(at);
    for ended in slot.unhandled() {
        draft.desire(ended, DesiredState::Shutdown);
    }
    draft.create(context.service.id, slot.slot, version, start(context, slot, hold));
    Tended::Changed
}

/// Whether a new task may run at once, or has to wait for a time or for the slot's tasks that still run.
pub(super) fn start(context: &Context<'_>, slot: &SlotTasks<'_>, hold: Option<Timestamp>) -> Start {
    let occupied = slot.tasks.iter().any(|task| context.is_live(task));
    if occupied || hold.is_some() { Start::Later(hold) } else { Start::Now }
}

/// Lets waiting tasks run whose time has come and whose slot is free.
pub(super) fn promote(context: &Context<'_>, slot: &SlotTasks<'_>, draft: &mut Draft) {
    for task in slot.wanted().filter(|task| task.desired == DesiredState::Ready) {
        if let Some(until) = task.hold_until.filter(|until| *until > context.now) {
            draft.wake(context.service.id, until);
            continue;
        }
        if !context.state.is_occupied(context.service.id, slot.slot, Some(task.id)) {
            draft.desire(task, DesiredState::Running);
        }
    }
}

/// When a successor of `ended` may start; `None` if there is to be none.
pub(super) fn next_start(context: &Context<'_>, slot: &SlotTasks<'_>, ended: &Task) -> Option<Timestamp> {
    let policy = &context.template(ended.template)?.restart;
    let completed = ended.status.state == TaskState::Complete;
    let restarts = match policy.condition {
        _ if ended.status.state == TaskState::Orphaned => return Some(context.now),
        RestartCondition::None => false,
        RestartCondition::OnFailure => !completed,
        RestartCondition::Any => !(completed && context.service.spec.mode.is_job()),
    };
    if !restarts {
        return None;
    }
    if let Some(most) = policy.max_attempts.filter(|most| *most <= MOST_ATTEMPTS) {
        let since = context.since(ended.template);
        let ends = slot.tasks.iter().filter(|task| {
            let counts = task.template == ended.template && task.created >= since && ended_by_itself(task);
            let within = policy.window == 0 || ended.status.since.since(task.status.since) < policy.window;
            counts && within
        });
        if ends.count() > most as usize {
            return None;
        }
    }
    Some(ended.status.since.plus(policy.delay))
}

/// Whether a task came to an end that nobody asked for.
pub(super) fn ended_by_itself(task: &Task) -> bool {
    matches!(task.status.state, TaskState::Complete | TaskState::Failed | TaskState::Rejected)
}
