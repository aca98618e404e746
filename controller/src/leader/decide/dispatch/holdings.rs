//! Which tasks each node holds, those that have ended and are not forgotten yet too: what the state has no index for.

use std::collections::{BTreeMap, BTreeSet};
use wharf_cluster::{
    event::Event,
    ids::{NodeId, TaskId},
    planted::{self, Bug},
    state::State,
};

/// Tasks by node.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    by_node: BTreeMap<NodeId, BTreeSet<TaskId>>,
    node_of: BTreeMap<TaskId, NodeId>,
}

impl Holdings {
    /// What `state` says.
    pub(super) fn of(state: &State) -> Self {
        let mut holdings = Holdings::default();
        if planted::is(Bug::HoldingsForgotten) {
            return holdings;
        }
        for task in state.tasks() {
            if let Some(node) = task.node {
                holdings.insert(task.id, node);
            }
        }
        holdings
    }

    fn insert(&mut self, task: TaskId, node: NodeId) {
        self.by_node.entry(node).or_default().insert(task);
        self.node_of.insert(task, node);
    }

    /// The tasks of a node.
    pub(super) fn of_node(&self, node: NodeId) -> impl Iterator<Item = TaskId> {
        self.by_node.get(&node).into_iter().flatten().copied()
    }

    /// Follows an event, and says which node has to hear of which task.
    pub(super) fn follow(&mut self, event: &Event) -> Option<(NodeId, TaskId)> {
        match event {
            Event::TaskPlaced { id, node } => {
                self.insert(*id, *node);
                Some((*node, *id))
            }
            Event::TaskDesired { id, .. } | Event::TaskEnded { id, .. } => {
                Some((*self.node_of.get(id)?, *id))
            }
            Event::TaskRemoved { id } => {
                let node = self.node_of.remove(id)?;
                if let Some(tasks) = self.by_node.get_mut(&node) {
                    tasks.remove(id);
                    if tasks.is_empty() {
                        self.by_node.remove(&node);
                    }
                }
                Some((node, *id))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_hear_of_their_tasks_until_they_are_removed() {
        let (node, task) = (NodeId(1), TaskId(2));
        let mut holdings = Holdings::default();
        assert_eq!(holdings.follow(&Event::TaskRemoved { id: task }), None);
        assert_eq!(holdings.follow(&Event::TaskPlaced { id: task, node }), Some((node, task)));
        let ended = Event::TaskEnded { id: task, orphaned: true, message: "".into() };
        assert_eq!(holdings.follow(&ended), Some((node, task)));
        assert_eq!(holdings.of_node(node).collect::<Vec<_>>(), [task]);
        assert_eq!(holdings.follow(&Event::TaskRemoved { id: task }), Some((node, task)));
        assert_eq!(holdings.of_node(node).count(), 0);
        assert!(holdings.by_node.is_empty() && holdings.node_of.is_empty());
    }
}
