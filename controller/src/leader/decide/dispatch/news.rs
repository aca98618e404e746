//! What is new of nodes: that they answer, and what their machines are. One proposal at a time, so that "ready" and "down"
//! can't overtake each other.

use std::collections::BTreeMap;
use wharf_cluster::{
    command::Command,
    ids::NodeId,
    model::{NodeDescription, NodeState},
    state::State,
};

/// News that one proposal carries.
const BATCH: usize = 256;

/// News that wait to be proposed.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Nodes that answer, with what they say of their machine if that may be new.
    answering: BTreeMap<NodeId, Option<NodeDescription>>,
    proposed: bool,
}

impl News {
    /// A node answers.
    pub(super) fn answers(&mut self, node: NodeId) {
        self.answering.entry(node).or_default();
    }

    /// A node answers, and says this of its machine.
    pub(super) fn describes(&mut self, node: NodeId, description: NodeDescription) {
        self.answering.insert(node, Some(description));
    }

    /// Whether there is something to propose.
    pub(super) fn is_due(&self) -> bool {
        !self.proposed && !self.answering.is_empty()
    }

    /// Whether something is being committed.
    pub(super) fn is_proposed(&self) -> bool {
        self.proposed
    }

    pub(super) fn proposed(&mut self) {
        self.proposed = true;
    }

    pub(super) fn applied(&mut self) {
        self.proposed = false;
    }

    /// What the next news mean, where the state doesn't say so already.
    pub(super) fn commands(&mut self, state: &State) -> Vec<Command> {
        let (mut commands, mut ready) = (Vec::new(), Vec::new());
        while commands.len() + ready.len() < BATCH
            && let Some((node, description)) = self.answering.pop_first()
        {
            let Some(known) = state.node(node) else { continue };
            if known.status.state != NodeState::Ready {
                tracing::info!(%node, name = known.name, "a node is ready");
                ready.push((node, NodeState::Ready, String::new()));
            }
            if let Some(description) = description.filter(|description| *known.description != *description) {
                commands.push(Command::DescribeNode { node, description });
            }
        }
        if !ready.is_empty() {
            commands.push(Command::SetNodeStates { nodes: ready });
        }
        commands
    }
}
