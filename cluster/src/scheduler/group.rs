//! One decision for all tasks of a service's template version.

use super::{BATCH, Decisions, Unplaced, explain, spread::Order, view::View};
use crate::{
    feasibility::Candidate,
    ids::NodeId,
    model::{Service, Slot, Task, TaskState, TaskTemplate},
    state::State,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A node on which tasks of the same template failed so often…
const FAILURES: usize = 5;
/// … within this time, in milliseconds, comes last.
const FAILURES_WITHIN: u64 = 5 * 60 * 1000;

/// Tasks of one service's template version that have no node.
pub(super) struct Group<'a> {
    pub(super) state: &'a State,
    pub(super) service: &'a Service,
    pub(super) version: u64,
    pub(super) template: &'a TaskTemplate,
}

/// What came of a group.
pub(super) enum Outcome {
    /// Every task has a node.
    Placed,
    /// Some can't have one.
    Unplaced,
    /// The bound of one call was reached.
    Bounded,
}

impl Group<'_> {
    /// Deals the tasks out.
    pub(super) fn decide(&self, view: &mut View<'_>, decisions: &mut Decisions) -> Outcome {
        let mut left: Vec<&Task> = Vec::new();
        let shunned = self.shunned();
        let mut order: Option<Order<'_>> = None;
        for task in self.tasks() {
            if decisions.placed.len() >= BATCH {
                return Outcome::Bounded;
            }
            let candidate = self.candidate(task.slot);
            let node = match task.slot {
                Slot::Node(node) => view
                    .find(node)
                    .filter(|at| view.check(*at, candidate).is_ok())
                    .map(|at| view.place(at, task.id, candidate)),
                Slot::Replica(_) => {
                    order.get_or_insert_with(|| Order::new(view, candidate, &shunned)).give(view, task.id)
                }
            };
            match node {
                Some(node) => decisions.placed.push((task.id, node)),
                None => left.push(task),
            }
        }
        if left.is_empty() {
            return Outcome::Placed;
        }
        let reason = self.reason(view, &left);
        let known = self.service.unplaced.get(&self.version) == Some(&reason);
        decisions.unplaced.push(Unplaced {
            service: self.service.id,
            template: self.version,
            tasks: left.iter().map(|task| task.id).collect(),
            is_news: !known || left.iter().any(|task| task.status.state == TaskState::New),
            reason,
        });
        Outcome::Unplaced
    }

    fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.state.unplaced_in(self.service.id, self.version).map(|task| &**task)
    }

    fn candidate(&self, slot: Slot) -> Candidate<'_> {
        Candidate { template: self.template, service: self.service.id, slot }
    }

    fn reason(&self, view: &View<'_>, left: &[&Task]) -> Arc<str> {
        let meant: Vec<(Candidate<'_>, NodeId)> = left
            .iter()
            .filter_map(|task| match task.slot {
                Slot::Node(node) => Some((self.candidate(task.slot), node)),
                Slot::Replica(_) => None,
            })
            .collect();
        match left.iter().find(|task| matches!(task.slot, Slot::Replica(_))) {
            Some(task) => explain::anywhere(view, self.candidate(task.slot)),
            None => explain::there(view, &meant),
        }
    }

    /// Nodes on which the former tasks of these tasks' slots failed again and again.
    fn shunned(&self) -> BTreeSet<NodeId> {
        let now = self.state.now();
        let mut failures: BTreeMap<NodeId, usize> = BTreeMap::new();
        for task in self.tasks().take(BATCH) {
            for former in self.state.tasks_in(task.service, task.slot) {
                let failed = matches!(former.status.state, TaskState::Failed | TaskState::Rejected);
                let lately = now.since(former.status.since) <= FAILURES_WITHIN;
                if let Some(node) = former.node
                    && failed
                    && lately
                    && former.template == self.version
                {
                    *failures.entry(node).or_default() += 1;
                }
            }
        }
        failures.into_iter().filter(|(_, count)| *count >= FAILURES).map(|(node, _)| node).collect()
    }
}
