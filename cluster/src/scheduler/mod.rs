//! Where tasks go, and why the rest can't go anywhere.
//!
//! [`schedule`] makes one decision for all tasks of the same service and template version: nodes are filtered once by
//! [`crate::feasibility`], then tasks are dealt out, counting as it goes.

mod explain;
mod group;
mod rank;
mod spread;
mod view;

use crate::{
    command::Command,
    ids::{NodeId, ServiceId, TaskId},
    state::{NodeLoad, State},
};
use group::{Group, Outcome};
use std::{collections::BTreeSet, sync::Arc};
use view::View;

/// How many tasks one call places: what one log entry should hold.
pub const BATCH: usize = 10_000;

/// Where tasks go, and why the rest can't go anywhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decisions {
    /// Tasks and their nodes.
    pub placed: Vec<(TaskId, NodeId)>,
    /// Tasks that no node can take.
    pub unplaced: Vec<Unplaced>,
    /// Service and template version whose reason no longer holds: all its tasks have nodes.
    pub cleared: Vec<(ServiceId, u64)>,
    /// Whether the bound of one call was reached, so that there is more to decide.
    pub more: bool,
}

/// Tasks of one service's template version that no node can take.
#[derive(Clone, Debug, PartialEq)]
pub struct Unplaced {
    /// The service.
    pub service: ServiceId,
    /// The template version.
    pub template: u64,
    /// The tasks.
    pub tasks: Vec<TaskId>,
    /// Why: how many nodes each filter refused.
    pub reason: Arc<str>,
    /// Whether the state doesn't say so yet.
    pub is_news: bool,
}

impl Decisions {
    /// What to propose; nothing if nothing is new.
    #[must_use]
    pub fn commands(&self) -> Vec<Command> {
        let mut commands = Vec::new();
        if !self.placed.is_empty() {
            commands.push(Command::PlaceTasks { placements: self.placed.clone() });
        }
        let news = self.unplaced.iter().filter(|unplaced| unplaced.is_news);
        let reasons: Vec<_> = news
            .map(|unplaced| (unplaced.service, unplaced.template, Some(unplaced.reason.clone())))
            .chain(self.cleared.iter().map(|(service, template)| (*service, *template, None)))
            .collect();
        if !reasons.is_empty() {
            commands.push(Command::ExplainUnplaced { reasons });
        }
        commands
    }
}

/// Where the tasks go that want a node and have none.
#[must_use]
pub fn schedule(state: &State) -> Decisions {
    let mut decisions = Decisions::default();
    let groups: BTreeSet<(ServiceId, u64)> = state.unplaced_groups().collect();
    let mut cleared: BTreeSet<(ServiceId, u64)> = state
        .services()
        .flat_map(|service| service.unplaced.keys().map(|template| (service.id, *template)))
        .filter(|key| !groups.contains(key))
        .collect();
    if groups.is_empty() {
        decisions.cleared = cleared.into_iter().collect();
        return decisions;
    }
    let empty = NodeLoad::default();
    let mut view = View::new(state, &empty);
    for (id, version) in groups {
        let Some(service) = state.service(id) else { continue };
        let Some(template) = service.templates.get(&version) else { continue };
        let group = Group { state, service, version, template: &template.spec };
        match group.decide(&mut view, &mut decisions) {
            Outcome::Placed if service.unplaced.contains_key(&version) => {
                cleared.insert((id, version));
            }
            Outcome::Placed | Outcome::Unplaced => {}
            Outcome::Bounded => {
                decisions.more = true;
                break;
            }
        }
    }
    decisions.cleared = cleared.into_iter().collect();
    decisions
}
