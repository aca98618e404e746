//! The controllers, and what makes them one cluster.

use crate::ids::{ControllerId, Timestamp};
use serde::{Deserialize, Serialize};

/// A controller of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// Its id, which is also its Raft id.
    pub id: ControllerId,
    /// Host name it gave when it joined.
    pub name: String,
    /// `host:port` at which clients, agents and peers reach it.
    pub address: String,
    /// When it joined.
    pub joined: Timestamp,
    /// Whether it is to vote; otherwise it only holds a copy.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub votes: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_yes(votes: &bool) -> bool {
    *votes
}

/// What there is once in a cluster.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterInfo {
    /// Name of the cluster in every certificate; made at random at bootstrap.
    pub id: String,
    /// The cluster's own certificate authority, PEM.
    pub ca_cert: String,
    /// Its private key, PEM. Every controller may have to sign, so it is part of the replicated state.
    pub ca_key: String,
    /// When the cluster was made.
    pub created: Timestamp,
}

impl std::fmt::Debug for ClusterInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterInfo")
            .field("id", &self.id)
            .field("created", &self.created)
            .finish_non_exhaustive()
    }
}
