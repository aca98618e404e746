//! Nodes are given up only after a leader has listened for them long enough.

use super::{Check, Checked, ensure};
use crate::sim::time::{Micros, SECOND};
use std::collections::BTreeMap;
use wharf_cluster::{command::Command, ids::NodeId, model::NodeState};

/// The least silence after which a node may be given up: the time that it is given, on a clock that runs too fast.
const LEAST: Micros = 4_800 * SECOND / 1_000;

/// Since when leaders listen, and what they have heard.
#[derive(Debug, Default)]
pub struct Silence {
    listening: BTreeMap<u64, Micros>,
    heard: BTreeMap<(u64, NodeId), Micros>,
}

impl Silence {
    /// The leader of a term begins to listen.
    pub fn listens(&mut self, term: u64, now: Micros) {
        self.listening.insert(term, now);
    }

    /// The leader of a term has heard a node.
    pub fn hears(&mut self, term: u64, node: NodeId, now: Micros) {
        self.heard.insert((term, node), now);
    }

    /// The leader of a term decides to propose this.
    ///
    /// # Errors
    /// When it gives a node up too soon.
    pub fn proposes(&self, term: u64, command: &Command, now: Micros) -> Checked {
        let Command::SetNodeStates { nodes } = command else { return Ok(()) };
        for (node, _, _) in nodes.iter().filter(|(_, to, _)| *to == NodeState::Down) {
            let since = self.listening.get(&term).max(self.heard.get(&(term, *node))).copied().unwrap_or(0);
            let silent = now.saturating_sub(since);
            ensure(silent >= LEAST, Check::GivenUpTooSoon, || {
                format!("node {node} is given up in term {term} after {} ms", silent / 1_000)
            })?;
        }
        Ok(())
    }
}
