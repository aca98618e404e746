//! What was made ready for a task: enough to start its container and to look after it, also by a later agent.

use serde::{Deserialize, Serialize};
use wharf_cluster::model::HealthCheck;
use wharf_runtime::api::{CreateRequest, LogOptions};
use wharf_runtime::spec::ContainerSpec;

/// What was made ready for a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prepared {
    /// The container to start.
    pub container: ContainerSpec,
    /// With which runtime; none for the node's default.
    pub runtime: Option<String>,
    /// How its log is kept.
    pub log: LogOptions,
    /// What asks it to stop.
    pub stop_signal: i32,
    /// How long it may take to stop, in milliseconds.
    pub stop_grace: u64,
    /// How its health is found out, if at all.
    pub health: Option<HealthCheck>,
    /// Host ports that lead to it: published, target.
    pub ports: Vec<(u16, u16)>,
}

impl Prepared {
    pub(super) fn request(&self) -> CreateRequest {
        CreateRequest { spec: self.container.clone(), runtime: self.runtime.clone(), log: self.log.clone() }
    }
}
