//! What a controller is told when it starts.

use std::{net::SocketAddr, path::PathBuf, time::Duration};
use wharf_cluster::level::Level;
use wharf_identity::{CERTIFICATE_LIFETIME, JoinToken};

/// What a controller is told when it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What people call it; its host name, unless told otherwise.
    pub name: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where others reach it, `host:port`.
    pub advertise: String,
    /// The folder that holds its log and its identity.
    pub data_dir: PathBuf,
    /// What an empty folder means. One that isn't empty is started from, whatever this says.
    pub start: Start,
    /// Times that can be set.
    pub timings: Timings,
    /// The most that it admits to know: less than it does holds the cluster back at what older versions know.
    pub max_level: Level,
}

/// What to do with an empty data directory.
#[derive(Clone, Debug)]
pub enum Start {
    /// Make a new cluster, and write the first admin's context to these files.
    Bootstrap {
        /// The files.
        contexts: Vec<PathBuf>,
    },
    /// Join a cluster.
    Join {
        /// Controllers of it, `host:port`.
        addresses: Vec<String>,
        /// The token for it.
        token: JoinToken,
    },
    /// Make a cluster from a backup, and write an admin's context to these files.
    Restore {
        /// The backup.
        file: PathBuf,
        /// The files.
        contexts: Vec<PathBuf>,
    },
    /// Refuse: a controller is to be started again, and its data is not there.
    Existing,
}

/// Times that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// How often an agent says that it is there.
    pub heartbeat: Duration,
    /// How many heartbeats in a row must be missed before a node is down.
    pub missed: u32,
    /// After what time without a change nodes that vanished together are given up.
    pub mass_loss_hold: Duration,
    /// How long the certificates hold that this controller signs.
    pub certificate_lifetime: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Timings {
            heartbeat: Duration::from_secs(1),
            missed: 5,
            mass_loss_hold: Duration::from_secs(120),
            certificate_lifetime: CERTIFICATE_LIFETIME,
        }
    }
}

/// Nodes that are served at the set heartbeat. With more, each sends less often, so that no more heartbeats come a second
/// than this many would send.
const NODES_AT_FULL_RATE: usize = 1000;

impl Timings {
    /// How often an agent should send a heartbeat in a cluster of so many nodes: the leader takes a bounded number of
    /// them a second.
    #[must_use]
    pub fn heartbeat_for(&self, nodes: usize) -> Duration {
        let factor = u32::try_from(nodes.div_ceil(NODES_AT_FULL_RATE)).unwrap_or(u32::MAX).max(1);
        self.heartbeat.saturating_mul(factor)
    }

    /// After what silence a node is down, in a cluster of so many nodes.
    #[must_use]
    pub fn ttl_for(&self, nodes: usize) -> Duration {
        self.heartbeat_for(nodes).saturating_mul(self.missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_grow_rare_as_nodes_grow_many() {
        let timings = Timings::default();
        for (nodes, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (2000, 2), (10_000, 10)] {
            assert_eq!(timings.heartbeat_for(nodes), Duration::from_secs(seconds), "{nodes}");
            assert_eq!(timings.ttl_for(nodes), Duration::from_secs(seconds * 5), "{nodes}");
        }
        for nodes in (1..50_000).step_by(7) {
            let rate = nodes as f64 / timings.heartbeat_for(nodes).as_secs_f64();
            assert!(rate <= 1000.0, "{rate} heartbeats a second from {nodes} nodes");
        }
    }
}
