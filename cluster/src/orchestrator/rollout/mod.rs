//! The update supervisor: takes slots from an old template to the new one, so many at a time, watches the new tasks,
//! and stops or goes back when too many fail.

mod progress;

use super::{
    context::{Context, SlotTasks},
    draft::{Draft, Start},
    restart::{self, Tended},
};
use crate::model::{DesiredState, FailureAction, Rollout, RolloutState, Task, TaskState};
use progress::{Standing, standing};
use std::sync::Arc;

/// A slot as its orchestrator has found and left it.
pub(super) struct Seen<'a> {
    pub(super) slot: SlotTasks<'a>,
    pub(super) tended: Tended,
    /// Whether a task of the new template could go where the slot is.
    pub(super) updatable: bool,
}

/// Goes on with the service's rollout. `settled`: no slot is missing, and none waits for its orchestrator.
pub(super) fn supervise(context: &Context<'_>, slots: &[Seen<'_>], settled: bool, draft: &mut Draft) {
    for seen in slots {
        hand_over(context, &seen.slot, draft);
    }
    if context.is_paused() {
        return;
    }
    let active = context.service.rollout.as_ref().filter(|rollout| rollout.state.is_active());
    if let Some(rollout) = active
        && let Some(message) = progress::verdict(context, slots)
        && react(context, rollout, &message, draft)
    {
        return;
    }

    let mut standings: Vec<(Standing, &Seen<'_>)> =
        slots.iter().filter(|seen| seen.updatable).map(|seen| (standing(context, seen), seen)).collect();
    let mut under_way = 0;
    let mut complete = settled;
    for (standing, seen) in &standings {
        match standing {
            Standing::Updated | Standing::Exhausted => {}
            Standing::UnderWay { until } => {
                complete = false;
                under_way += 1;
                if let Some(until) = until {
                    draft.wake(context.service.id, *until);
                }
            }
            Standing::Retrying => complete = false,
            Standing::Retry { at } => {
                complete = false;
                retry(context, &seen.slot, *at, draft);
            }
            Standing::Outdated { .. } => complete = false,
        }
    }
    let parallelism = match context.update().parallelism {
        0 => usize::MAX,
        bound => bound as usize,
    };
    standings.retain(|(standing, _)| matches!(standing, Standing::Outdated { .. }));
    // Those that don't run anyway come first: nothing is lost with them.
    standings
        .sort_by_key(|(standing, seen)| (*standing == Standing::Outdated { runs: true }, seen.slot.slot));
    for (_, seen) in standings.iter().take(parallelism.saturating_sub(under_way)) {
        if !draft.may_create() {
            draft.wake(context.service.id, context.now);
            break;
        }
        replace(context, &seen.slot, draft);
    }
    if let Some(rollout) = active.filter(|_| complete) {
        complete_rollout(context, rollout, slots, draft);
    }
}

/// Where a slot has a task of the new template beside older ones, the older ones stop: at once if they should have
/// stopped first, else when the new one runs.
fn hand_over(context: &Context<'_>, slot: &SlotTasks<'_>, draft: &mut Draft) {
    let target = context.service.template;
    let Some(new) = slot.wanted().find(|task| task.template == target) else { return };
    if context.starts_first() && new.status.state != TaskState::Running {
        return;
    }
    for old in slot.wanted().filter(|task| task.template != target) {
        draft.desire(old, DesiredState::Shutdown);
    }
}

/// Takes a slot to the new template.
fn replace(context: &Context<'_>, slot: &SlotTasks<'_>, draft: &mut Draft) {
    let service = context.service;
    let mut old: Vec<&Arc<Task>> = slot.wanted().collect();
    let start = if context.starts_first() && !old.is_empty() {
        // One of them goes on meanwhile: the one that is furthest.
        old.sort_by_key(|task| std::cmp::Reverse(task.status.state));
        old.remove(0);
        Start::Now
    } else {
        restart::start(context, slot, None)
    };
    for task in old.into_iter().chain(slot.unhandled()) {
        draft.desire(task, DesiredState::Shutdown);
    }
    draft.create(service.id, slot.slot, service.template, start);
}

/// Tries again in a slot whose old task goes on because the new one failed.
fn retry(context: &Context<'_>, slot: &SlotTasks<'_>, at: crate::ids::Timestamp, draft: &mut Draft) {
    let target = context.service.template;
    for failed in slot.unhandled().filter(|task| task.template == target) {
        draft.desire(failed, DesiredState::Shutdown);
    }
    let start = if at > context.now { Start::Later(Some(at)) } else { Start::Now };
    draft.create(context.service.id, slot.slot, target, start);
}

/// What follows when too many new tasks failed. Whether the rollout stops.
fn react(context: &Context<'_>, rollout: &Rollout, message: &str, draft: &mut Draft) -> bool {
    let can_go_back = rollout.from != rollout.to && context.service.templates.contains_key(&rollout.from);
    let next = match (rollout.state, context.update().failure_action) {
        (_, FailureAction::Continue) => return false,
        (RolloutState::Updating, FailureAction::Rollback) if can_go_back => RolloutState::RollingBack,
        (RolloutState::Updating, _) => RolloutState::Paused,
        _ => RolloutState::RollbackPaused,
    };
    draft.set_rollout(context.service.id, rollout.to, next, message);
    true
}

fn complete_rollout(context: &Context<'_>, rollout: &Rollout, slots: &[Seen<'_>], draft: &mut Draft) {
    if let Some(until) = progress::monitored_until(context, slots).filter(|until| *until > context.now) {
        draft.wake(context.service.id, until);
        return;
    }
    let state = match rollout.state {
        RolloutState::RollingBack => RolloutState::RolledBack,
        _ => RolloutState::Completed,
    };
    draft.set_rollout(context.service.id, rollout.to, state, "");
}
