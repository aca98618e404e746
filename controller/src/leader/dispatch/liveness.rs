//! Until when each node may be silent. One that has been silent for several heartbeats is given up, at a bounded rate,
//! so that a controller which hears of nobody doesn't move everything at once.

use std::collections::HashMap;
use tokio::time::Instant;
use wharf_cluster::ids::NodeId;

/// Until when each node may be silent.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    until: HashMap<NodeId, Instant>,
}

impl Liveness {
    /// These nodes may be silent until `deadline`.
    pub(super) fn expecting(nodes: impl Iterator<Item = NodeId>, deadline: Instant) -> Self {
        Liveness { until: nodes.map(|node| (node, deadline)).collect() }
    }

    /// A node said something, and may be silent until `deadline`.
    pub(super) fn heard(&mut self, node: NodeId, deadline: Instant) {
        self.until.insert(node, deadline);
    }

    /// A node is no longer expected to say anything.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.until.remove(&node);
    }

    /// When the next node's time is up, if nothing is heard before.
    pub(super) fn next(&self) -> Option<Instant> {
        self.until.values().min().copied()
    }

    /// At most `most` nodes whose time is up, the longest silent ones first; they are forgotten.
    pub(super) fn expired(&mut self, now: Instant, most: usize) -> Vec<NodeId> {
        let mut late: Vec<(Instant, NodeId)> = self
            .until
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(node, until)| (*until, *node))
            .collect();
        late.sort_unstable();
        late.truncate(most);
        for (_, node) in &late {
            self.until.remove(node);
        }
        late.into_iter().map(|(_, node)| node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn silent_nodes_are_given_up_a_few_at_a_time() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut liveness = Liveness::expecting((1..=5).map(NodeId), now);
        liveness.heard(NodeId(3), later);
        assert_eq!(liveness.next(), Some(now));
        assert_eq!(liveness.expired(now, 2), [NodeId(1), NodeId(2)]);
        assert_eq!(liveness.expired(now, 9), [NodeId(4), NodeId(5)]);
        assert_eq!(liveness.expired(now, 9), []);
        assert_eq!(liveness.next(), Some(later));
        liveness.forget(NodeId(3));
        assert_eq!(liveness.expired(later, 9), []);
    }
}
