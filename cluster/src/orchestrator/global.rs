//! Global services: a task on every node that fits. A node that is down or cordoned keeps its task, a drained one
//! loses it.

use super::{
    context::{Context, SlotTasks},
    draft::{Draft, Start},
    restart::{self, Tended},
    rollout::{self, Seen},
};
use crate::{
    feasibility::{Candidate, eligible, fits},
    model::{DesiredState, Node, Slot},
};
use std::collections::BTreeMap;

pub(super) fn reconcile(context: &Context<'_>, draft: &mut Draft) {
    let mut slots: BTreeMap<Slot, SlotTasks<'_>> = context.slots().map(|slot| (slot.slot, slot)).collect();
    let mut seen = Vec::with_capacity(slots.len());
    let mut missing = false;
    let template = context.service.template;
    for node in context.state.nodes() {
        let place = Slot::Node(node.id);
        let takes = takes(context, node);
        match slots.remove(&place) {
            Some(slot) if !slot.tasks.is_empty() => {
                let tended = tend(context, &slot, node, takes, draft);
                missing |= tended == Tended::Changed;
                seen.push(Seen { slot, tended, updatable: takes });
            }
            _ if takes => {
                missing = true;
                if !draft.may_create() {
                    draft.wake(context.service.id, context.now);
                    continue;
                }
                draft.create(context.service.id, place, template, Start::Now);
            }
            _ => {}
        }
    }
    clear(slots.into_values(), draft);
    rollout::supervise(context, &seen, !missing, draft);
}

/// Whether `node` can get a task of the template that tasks should run.
pub(super) fn takes(context: &Context<'_>, node: &Node) -> bool {
    let slot = Slot::Node(node.id);
    context.template(context.service.template).is_some_and(|template| {
        eligible(Candidate { template, service: context.service.id, slot }, node).is_ok()
    })
}

/// Sees to one node's task.
pub(super) fn tend(
    context: &Context<'_>,
    slot: &SlotTasks<'_>,
    node: &Node,
    takes: bool,
    draft: &mut Draft,
) -> Tended {
    let mut kept = false;
    for task in slot.wanted() {
        if is_unwelcome(context, node) || context.is_evicted(task) {
            draft.desire(task, DesiredState::Shutdown);
        } else {
            kept = true;
        }
    }
    if kept {
        restart::promote(context, slot, draft);
        return Tended::Kept;
    }
    let was_wanted = slot.wanted().next().is_some();
    if takes && !was_wanted { restart::refill(context, slot, draft) } else { Tended::Done }
}

/// Whether a task can't stay on `node`, nor a new one come: it is drained, or the new template doesn't fit there.
fn is_unwelcome(context: &Context<'_>, node: &Node) -> bool {
    let slot = Slot::Node(node.id);
    let fits = context.template(context.service.template).is_some_and(|template| {
        fits(Candidate { template, service: context.service.id, slot }, node).is_ok()
    });
    node.availability == crate::model::Availability::Drained || !fits && !context.is_paused()
}

/// Takes away what was on nodes that are gone.
pub(super) fn clear<'a>(slots: impl Iterator<Item = SlotTasks<'a>>, draft: &mut Draft) {
    for slot in slots {
        for task in slot.tasks {
            draft.desire(task, DesiredState::Remove);
        }
    }
}
