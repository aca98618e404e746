//! Until when each node may be silent.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use wharf_cluster::ids::NodeId;

/// Until when each node may be silent. Those that aren't in it are expected to say nothing.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    nodes: BTreeMap<NodeId, Heard>,
    /// By the end of their time.
    order: BTreeSet<(Duration, NodeId)>,
}

/// When a node was heard of, and until when it may be silent.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Duration,
    until: Duration,
}

impl Liveness {
    /// A node said something at `at`, and may be silent until `until`.
    pub(super) fn heard(&mut self, node: NodeId, at: Duration, until: Duration) {
        if let Some(before) = self.nodes.insert(node, Heard { at, until }) {
            self.order.remove(&(before.until, node));
        }
        self.order.insert((until, node));
    }

    /// A node is no longer expected to say anything. When it was heard of last.
    pub(super) fn forget(&mut self, node: NodeId) -> Option<Duration> {
        let heard = self.nodes.remove(&node)?;
        self.order.remove(&(heard.until, node));
        Some(heard.at)
    }

    /// When a node was heard of last, if it is expected to say something.
    pub(super) fn last(&self, node: NodeId) -> Option<Duration> {
        self.nodes.get(&node).map(|heard| heard.at)
    }

    /// When the next node's time is up, if nothing is heard before.
    pub(super) fn next(&self) -> Option<Duration> {
        self.order.first().map(|(until, _)| *until)
    }

    /// The nodes whose time is up at `now`, the longest silent ones first.
    pub(super) fn expired(&self, now: Duration) -> impl Iterator<Item = NodeId> {
        self.order.range(..=(now, NodeId(u64::MAX))).map(|(_, node)| *node)
    }

    /// Gives every node time until `until` at least.
    pub(super) fn grace(&mut self, until: Duration) {
        let short: Vec<NodeId> = self.expired(until).collect();
        for node in short {
            let at = self.nodes.get(&node).map_or(until, |heard| heard.at);
            self.heard(node, at, until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_nodes_come_in_the_order_of_their_silence() {
        let second = Duration::from_secs;
        let mut liveness = Liveness::default();
        for node in 1..=4 {
            liveness.heard(NodeId(node), second(0), second(10 - node));
        }
        liveness.heard(NodeId(3), second(5), second(10));
        assert_eq!(liveness.next(), Some(second(6)));
        assert_eq!(liveness.expired(second(8)).collect::<Vec<_>>(), [NodeId(4), NodeId(2)]);
        assert_eq!(liveness.forget(NodeId(4)), Some(second(0)));
        assert_eq!(liveness.expired(second(9)).collect::<Vec<_>>(), [NodeId(2), NodeId(1)]);
        liveness.grace(second(10));
        assert_eq!(liveness.next(), Some(second(10)));
        assert_eq!(
            (liveness.forget(NodeId(1)), liveness.forget(NodeId(3))),
            (Some(second(0)), Some(second(5)))
        );
        assert_eq!(liveness.forget(NodeId(4)), None);
    }
}
