//! What `wharf get … -o json` says, as far as tests ask.

use serde::Deserialize;

/// A task.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "named after what the client prints")]
pub struct TaskView {
    pub id: String,
    pub name: String,
    pub service: String,
    #[serde(default)]
    pub node: String,
    pub image: String,
    pub template: u64,
    pub state: String,
    pub desired: String,
    #[serde(default)]
    pub message: String,
    pub pid: Option<u32>,
    pub exit_code: Option<i32>,
    #[serde(default)]
    pub ports: Vec<PortView>,
    #[serde(default)]
    pub node_state: String,
}

/// A published port.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "named after what the client prints")]
pub struct PortView {
    pub published: u16,
    pub target: u16,
}

/// A node.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "named after what the client prints")]
pub struct NodeView {
    pub id: String,
    pub name: String,
    pub state: String,
    pub availability: String,
}

/// A controller.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "named after what the client prints")]
pub struct ControllerView {
    pub name: String,
    pub role: String,
    pub address: String,
    pub reachable: bool,
}

/// A service.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "named after what the client prints")]
pub struct ServiceView {
    pub name: String,
    pub template: u64,
    pub running: u32,
    pub desired: u32,
    pub up_to_date: u32,
    pub rollout: Option<RolloutView>,
}

/// A rollout.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "named after what the client prints")]
pub struct RolloutView {
    pub state: String,
    pub from: u64,
    pub to: u64,
    pub message: String,
}

/// Something that happened.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "named after what the client prints")]
pub struct EventView {
    pub kind: String,
    pub name: String,
    pub action: String,
    #[serde(default)]
    pub message: String,
}
