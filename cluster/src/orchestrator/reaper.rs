//! What is forgotten: old attempts of a slot, tasks that should go and have ended, tasks of nodes that have been
//! silent for too long, services whose removal is complete.

use super::{context::Context, draft::Draft, restart::MOST_ATTEMPTS};
use crate::model::{DesiredState, NodeState, Task};

/// Forgets what need not be remembered of a service's tasks.
pub(super) fn reap(context: &Context<'_>, draft: &mut Draft) {
    let keep = kept(context);
    for slot in context.slots() {
        let ended = slot.tasks.iter().copied().filter(|task| task.is_final());
        let (going, mut old): (Vec<_>, Vec<_>) = ended.partition(|task| task.desired == DesiredState::Remove);
        old.truncate(old.len().saturating_sub(keep));
        for task in going.into_iter().chain(old) {
            draft.remove(task);
        }
        for task in slot.tasks.iter().filter(|task| !task.is_final()) {
            give_up(context, task, draft);
        }
    }
}

/// Stops a service that is being removed, and forgets it when nothing is left of it.
pub(super) fn remove_service(context: &Context<'_>, draft: &mut Draft) {
    let mut left = false;
    for task in context.state.tasks_of(context.service.id) {
        draft.desire(task, DesiredState::Remove);
        if task.is_final() {
            draft.remove(task);
        } else if task.node.is_some() {
            left = true;
            give_up(context, task, draft);
        } else {
            // It ends when it is told to; the next look removes it.
            left = true;
        }
    }
    if !left {
        draft.forget(context.service.id);
    }
}

/// How many ended tasks of a slot are kept: enough to count restarts.
fn kept(context: &Context<'_>) -> usize {
    let policy = context.template(context.service.template).map(|template| &template.restart);
    let attempts = policy.and_then(|policy| policy.max_attempts).filter(|most| *most <= MOST_ATTEMPTS);
    let counted = attempts.map_or(0, |most| most as usize + 1);
    context.limits.history.max(counted).max(1)
}

fn give_up(context: &Context<'_>, task: &Task, draft: &mut Draft) {
    let Some(id) = task.node else { return };
    let Some(node) = context.state.node(id) else {
        draft.orphan(task);
        return;
    };
    if node.status.state != NodeState::Down {
        return;
    }
    let at = node.status.since.plus(context.limits.orphan_after);
    if at <= context.now {
        draft.orphan(task);
    } else {
        draft.wake(context.service.id, at);
    }
}
