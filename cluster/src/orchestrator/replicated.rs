//! Replicated services: so many slots, each with a task.

use super::{
    context::{Context, SlotTasks},
    draft::{Draft, Start},
    restart,
    rollout::{self, Seen},
};
use crate::{
    ids::NodeId,
    model::{DesiredState, Slot, TaskState},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

pub(super) fn reconcile(context: &Context<'_>, replicas: u32, draft: &mut Draft) {
    let (leaving, mut slots): (Vec<_>, Vec<_>) = context.slots().partition(SlotTasks::is_leaving);
    let wanted = replicas as usize;
    if slots.len() > wanted {
        sort_for_removal(context, &mut slots);
        for slot in slots.drain(..slots.len() - wanted) {
            for task in slot.tasks {
                draft.desire(task, DesiredState::Remove);
            }
        }
        slots.sort_by_key(|slot| slot.slot);
    }
    let missing = wanted - slots.len();
    let numbers: BTreeSet<Slot> = slots.iter().map(|slot| slot.slot).collect();
    let seen: Vec<Seen<'_>> = slots
        .into_iter()
        .map(|slot| {
            let tended = restart::tend(context, &slot, draft);
            Seen { slot, tended, updatable: true }
        })
        .collect();
    add(context, missing, &numbers, &leaving, draft);
    rollout::supervise(context, &seen, missing == 0, draft);
}

/// Makes `missing` slots with the lowest numbers that are free.
fn add(
    context: &Context<'_>,
    missing: usize,
    taken: &BTreeSet<Slot>,
    leaving: &[SlotTasks<'_>],
    draft: &mut Draft,
) {
    let free = (1..=u32::MAX).map(Slot::Replica).filter(|slot| !taken.contains(slot));
    for slot in free.take(missing) {
        if !draft.may_create() {
            draft.wake(context.service.id, context.now);
            break;
        }
        let old = leaving.binary_search_by_key(&slot, |old| old.slot).ok().map(|at| &leaving[at]);
        let start = old.map_or(Start::Now, |old| restart::start(context, old, None));
        draft.create(context.service.id, slot, context.service.template, start);
    }
}

/// Sorts slots so that those whose loss is felt least come first: without a task, not placed or on a lost node, not
/// running, on a node with many others; of equal ones the youngest.
fn sort_for_removal(context: &Context<'_>, slots: &mut [SlotTasks<'_>]) {
    let mut on_node: BTreeMap<NodeId, usize> = BTreeMap::new();
    slots.sort_by_cached_key(|slot| {
        let Some(task) = slot.wanted().max_by_key(|task| task.status.state) else {
            return (0, Reverse(0), Reverse(slot.slot));
        };
        let Some(node) = task.node.filter(|_| !context.is_displaced(task)) else {
            return (1, Reverse(0), Reverse(slot.slot));
        };
        let class = if task.status.state < TaskState::Running { 2 } else { 3 };
        let others = on_node.entry(node).or_default();
        *others += 1;
        (class, Reverse(*others), Reverse(slot.slot))
    });
}
