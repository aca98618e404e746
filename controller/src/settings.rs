//! What a controller is told when it starts.

use std::{net::SocketAddr, path::PathBuf, time::Duration};
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
    /// How long the certificates hold that this controller signs.
    pub certificate_lifetime: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Timings { heartbeat: Duration::from_secs(1), missed: 5, certificate_lifetime: CERTIFICATE_LIFETIME }
    }
}

/// Nodes that are served at the set heartbeat; with more, each sends less often.
const NODES_AT_FULL_RATE: usize = 1000;

impl Timings {
    /// How often an agent should send a heartbeat in a cluster of so many nodes: the controller takes a bounded number
    /// of them a second.
    #[must_use]
    pub fn heartbeat_for(&self, nodes: usize) -> Duration {
        let factor = u32::try_from(nodes / NODES_AT_FULL_RATE).unwrap_or(u32::MAX).max(1);
        self.heartbeat.saturating_mul(factor)
    }

    /// After what silence a node is down, in a cluster of so many nodes.
    #[must_use]
    pub fn ttl_for(&self, nodes: usize) -> Duration {
        self.heartbeat_for(nodes).saturating_mul(self.missed)
    }
}
