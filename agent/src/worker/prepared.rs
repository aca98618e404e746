//! What was made ready for a task: enough to start its container and to look after it, also by a later agent. It is kept
//! beside the files that are bound into the container: what outlives an agent's end, and not the machine's.

use std::fs;
use std::io;
use std::path::Path;

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

const FILE: &str = "prepared.json";

impl Prepared {
    /// What is kept in a task's folder.
    pub(super) fn load(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()
    }

    pub(super) fn save(&self, folder: &Path) -> io::Result<()> {
        let (path, new) = (folder.join(FILE), folder.join("prepared.new"));
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(new, path)
    }

    pub(super) fn request(&self) -> CreateRequest {
        CreateRequest { spec: self.container.clone(), runtime: self.runtime.clone(), log: self.log.clone() }
    }
}
