//! The merged, interpolated and checked project: what a caller works with once a file has been read.
//!
//! Every struct serializes in the long form that `docker compose config` prints. Values are already in
//! the units a machine wants: [`std::time::Duration`], bytes, billionths of a cpu, one [`Port`] a port.

mod deploy;
mod health;
mod mount;
mod port;
mod service;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;

pub use deploy::{
    Constraint, ConstraintOperator, Deploy, DeployMode, EndpointMode, FailureAction, Limits, Placement,
    Preference, Reservations, Resources, RestartCondition, RestartPolicy, Strategy, UpdateConfig,
    UpdateOrder,
};
pub use health::{HealthTest, Healthcheck};
pub use mount::{Mount, MountKind, Propagation, Tmpfs};
pub use port::{Port, Protocol, PublishMode};
pub use service::{ExtraHost, LogDriver, Logging, NetworkMode, Service, Ulimit};

/// One stack as its Compose files describe it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Project {
    /// The project's name, which becomes the stack's.
    pub name: String,
    /// Services by name, in the order the files give them.
    pub services: IndexMap<String, Service>,
    /// Networks by key. Holds `default` when at least one service is attached to it, and nothing else yet.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub networks: IndexMap<String, Network>,
    /// Named volumes by key, in the order the files give them.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub volumes: IndexMap<String, Volume>,
}

/// A network of the project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Its name outside the project, `<project>_<key>`.
    pub name: String,
}

/// A named volume of the project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// Its name outside the project: what `name:` says, else `<project>_<key>`.
    pub name: String,
    /// The volume driver, when the file names one. `local` is the only one there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Labels of the volume.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}
