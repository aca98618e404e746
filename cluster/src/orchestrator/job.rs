//! Jobs: tasks that run until so many have completed, anywhere or once on every node. A job whose template changes
//! runs anew.

use super::{
    context::{Context, SlotTasks},
    draft::{Draft, Start},
    global, restart,
};
use crate::model::{DesiredState, RolloutState, Slot, Task, TaskState};
use std::collections::BTreeMap;

/// A job with `completions` slots, of which so many are worked on at the same time (0: all).
pub(super) fn replicated(context: &Context<'_>, completions: u32, concurrent: u32, draft: &mut Draft) {
    let mut slots: BTreeMap<Slot, SlotTasks<'_>> = context.slots().map(|slot| (slot.slot, slot)).collect();
    let beyond = slots.split_off(&Slot::Replica(completions.saturating_add(1)));
    global::clear(beyond.into_values(), draft);
    let bound = if concurrent == 0 { completions } else { concurrent };
    let mut active = 0;
    let mut idle = Vec::new();
    for slot in slots.values() {
        match Standing::of(context, slot) {
            Standing::Complete => settle(slot, draft),
            Standing::Wanted => {
                active += 1;
                restart::tend(context, slot, draft);
            }
            Standing::Idle => idle.push(slot),
            Standing::Outdated => {}
        }
        retire(context, slot, draft);
    }
    for slot in idle {
        if active < bound && restart::refill(context, slot, draft) == restart::Tended::Changed {
            active += 1;
        }
    }
    for place in (1..=completions).map(Slot::Replica) {
        if active >= bound {
            break;
        }
        let old = slots.get(&place);
        if old.is_some_and(|slot| Standing::of(context, slot) != Standing::Outdated) {
            continue;
        }
        if !draft.may_create() {
            draft.wake(context.service.id, context.now);
            break;
        }
        begin(context, place, old, draft);
        active += 1;
    }
    finish_rollout(context, draft);
}

/// A job with a task on every node that fits.
pub(super) fn global(context: &Context<'_>, draft: &mut Draft) {
    let mut slots: BTreeMap<Slot, SlotTasks<'_>> = context.slots().map(|slot| (slot.slot, slot)).collect();
    for node in context.state.nodes() {
        let place = Slot::Node(node.id);
        let takes = global::takes(context, node);
        let old = slots.remove(&place);
        let standing = old.as_ref().map_or(Standing::Outdated, |slot| Standing::of(context, slot));
        match (&old, standing) {
            (Some(slot), Standing::Complete) => settle(slot, draft),
            (Some(slot), Standing::Wanted | Standing::Idle) => {
                global::tend(context, slot, node, takes, draft);
            }
            _ if !takes => {}
            _ if draft.may_create() => begin(context, place, old.as_ref(), draft),
            _ => draft.wake(context.service.id, context.now),
        }
        if let Some(slot) = &old {
            retire(context, slot, draft);
        }
    }
    global::clear(slots.into_values(), draft);
    finish_rollout(context, draft);
}

/// How far a job's slot is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// A task of the present run has completed.
    Complete,
    /// One is wanted.
    Wanted,
    /// Its tasks have ended without completing.
    Idle,
    /// It has only tasks of former runs.
    Outdated,
}

impl Standing {
    fn of(context: &Context<'_>, slot: &SlotTasks<'_>) -> Standing {
        let mut present = slot.tasks.iter().filter(|task| is_present(context, task)).peekable();
        if present.peek().is_none() {
            return Standing::Outdated;
        }
        let mut wanted = false;
        for task in present {
            if task.status.state == TaskState::Complete {
                return Standing::Complete;
            }
            wanted |= task.is_wanted();
        }
        if wanted { Standing::Wanted } else { Standing::Idle }
    }
}

/// Whether a task belongs to the present run of the job.
fn is_present(context: &Context<'_>, task: &Task) -> bool {
    let version = context.service.template;
    task.template == version && task.created >= context.since(version) && task.desired != DesiredState::Remove
}

/// A completed slot needs nothing more.
fn settle(slot: &SlotTasks<'_>, draft: &mut Draft) {
    for task in slot.wanted() {
        draft.desire(task, DesiredState::Shutdown);
    }
}

/// Takes away the tasks of former runs.
fn retire(context: &Context<'_>, slot: &SlotTasks<'_>, draft: &mut Draft) {
    for task in slot.tasks.iter().filter(|task| !is_present(context, task)) {
        draft.desire(task, DesiredState::Remove);
    }
}

fn begin(context: &Context<'_>, place: Slot, old: Option<&SlotTasks<'_>>, draft: &mut Draft) {
    let start = old.map_or(Start::Now, |slot| restart::start(context, slot, None));
    draft.create(context.service.id, place, context.service.template, start);
}

/// A job has nothing to roll out: its new run begins at once.
fn finish_rollout(context: &Context<'_>, draft: &mut Draft) {
    let Some(rollout) = &context.service.rollout else { return };
    let state = match rollout.state {
        RolloutState::Updating => RolloutState::Completed,
        RolloutState::RollingBack => RolloutState::RolledBack,
        _ => return,
    };
    draft.set_rollout(context.service.id, rollout.to, state, "the job runs anew");
}
