//! Nodes: the machines that run agents.

use crate::ids::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// A machine that runs an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id, as in its certificate.
    pub id: NodeId,
    /// Host name; unique in the cluster.
    pub name: String,
    /// Labels given by people (`node.labels.*` in constraints).
    pub labels: BTreeMap<String, String>,
    /// What people want of it.
    pub availability: Availability,
    /// Whether it answers.
    pub status: NodeStatus,
    /// What its agent says of it.
    pub description: Arc<NodeDescription>,
    /// When it joined.
    pub joined: Timestamp,
}

impl Node {
    /// Whether new tasks may go there.
    #[must_use]
    pub fn is_schedulable(&self) -> bool {
        self.status.state == NodeState::Ready && self.availability == Availability::Active
    }
}

/// Whether a node answers, since when, and why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Ready, down or unknown.
    pub state: NodeState,
    /// When it became so.
    pub since: Timestamp,
    /// Why, for people.
    pub message: String,
}

/// Whether a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NodeState {
    /// It has joined, or a new leader has not heard of it yet: no verdict.
    Unknown,
    /// Its agent holds a session.
    Ready,
    /// It missed several heartbeats; its tasks are replaced elsewhere.
    Down,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            NodeState::Unknown => "unknown",
            NodeState::Ready => "ready",
            NodeState::Down => "down",
        })
    }
}

/// What people want of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Availability {
    /// It takes new tasks.
    #[default]
    Active,
    /// It keeps its tasks and takes no new ones.
    Cordoned,
    /// Its tasks are moved away.
    Drained,
}

impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Availability::Active => "active",
            Availability::Cordoned => "cordoned",
            Availability::Drained => "drained",
        })
    }
}

/// What an agent says of its machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeDescription {
    /// Host name.
    pub hostname: String,
    /// Address at which other nodes reach it.
    pub address: String,
    /// Operating system and architecture.
    pub platform: Platform,
    /// Kernel release.
    pub kernel: String,
    /// Processors, in billionths of a processor.
    pub nano_cpus: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// How cgroups are mounted.
    pub cgroups: CgroupMode,
    /// Names of the OCI runtimes it offers; the first is its default.
    pub runtimes: Vec<String>,
    /// Labels from the agent's own configuration (`engine.labels.*` in constraints).
    pub labels: BTreeMap<String, String>,
    /// The agent's version.
    pub version: String,
}

/// Operating system and architecture, in the OCI image spec's words (`linux`, `amd64`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system.
    pub os: String,
    /// Architecture.
    pub architecture: String,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

/// How cgroups are mounted on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupMode {
    /// No usable cgroups were found.
    #[default]
    None,
    /// Version 1 hierarchies only.
    V1,
    /// The unified hierarchy.
    V2,
    /// Version 1 controllers beside a unified hierarchy.
    Hybrid,
}
