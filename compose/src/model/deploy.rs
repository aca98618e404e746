//! How a service is spread over the cluster, and how its tasks are replaced.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::units;

/// The `deploy:` section with its defaults filled in, and with what Compose also allows elsewhere
/// (`restart`, `mem_limit`, `mem_reservation`, `cpus`, `pids_limit`).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Deploy {
    /// What kind of service it is.
    pub mode: DeployMode,
    /// How many tasks; always present for the replicated modes, never for the global ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Labels of the service. Those of its containers are in [`Service::labels`](super::Service::labels).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What each task may use, and what is set aside for it.
    #[serde(skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// Which nodes its tasks may go to.
    #[serde(skip_serializing_if = "Placement::is_empty")]
    pub placement: Placement,
    /// When a finished task is replaced; the cluster's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    /// How tasks are replaced by an update; the cluster's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_config: Option<UpdateConfig>,
    /// How tasks are replaced by a rollback; the cluster's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_config: Option<UpdateConfig>,
    /// How the service's name resolves.
    #[serde(skip_serializing_if = "EndpointMode::is_vip")]
    pub endpoint_mode: EndpointMode,
}

impl Default for Deploy {
    fn default() -> Self {
        Self {
            mode: DeployMode::Replicated,
            replicas: Some(1),
            labels: BTreeMap::new(),
            resources: Resources::default(),
            placement: Placement::default(),
            restart_policy: None,
            update_config: None,
            rollback_config: None,
            endpoint_mode: EndpointMode::Vip,
        }
    }
}

/// The kind of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeployMode {
    /// A number of tasks kept running.
    #[default]
    Replicated,
    /// One task kept running on every node that may have it.
    Global,
    /// A number of tasks run to completion.
    ReplicatedJob,
    /// One task run to completion on every node that may have it.
    GlobalJob,
}

impl DeployMode {
    /// Whether the mode has one task a node and therefore no number of replicas.
    pub fn is_global(self) -> bool {
        matches!(self, DeployMode::Global | DeployMode::GlobalJob)
    }
}

/// How a service's name resolves in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointMode {
    /// To one address that stands for all tasks.
    #[default]
    Vip,
    /// To the tasks' own addresses.
    Dnsrr,
}

impl EndpointMode {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature serde's skip_serializing_if calls")]
    fn is_vip(&self) -> bool {
        *self == EndpointMode::Vip
    }
}

/// What each task may use and what is set aside for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
pub struct Resources {
    /// What a task can't go beyond.
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// What its node must have free.
    #[serde(skip_serializing_if = "Reservations::is_empty")]
    pub reservations: Reservations,
}

impl Resources {
    fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.reservations.is_empty()
    }
}

/// What a task can't go beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
pub struct Limits {
    /// Billionths of a cpu.
    #[serde(
        rename = "cpus",
        skip_serializing_if = "Option::is_none",
        serialize_with = "units::serialize_optional_cpus"
    )]
    pub nano_cpus: Option<u64>,
    /// Bytes of memory.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "units::serialize_optional_bytes")]
    pub memory: Option<u64>,
    /// Number of processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
}

impl Limits {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a task's node must have free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
pub struct Reservations {
    /// Billionths of a cpu.
    #[serde(
        rename = "cpus",
        skip_serializing_if = "Option::is_none",
        serialize_with = "units::serialize_optional_cpus"
    )]
    pub nano_cpus: Option<u64>,
    /// Bytes of memory.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "units::serialize_optional_bytes")]
    pub memory: Option<u64>,
}

impl Reservations {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Which nodes a service's tasks may go to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Placement {
    /// What must be true of a node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// What tasks are spread over evenly, the first counting most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preferences: Vec<Preference>,
    /// The most tasks of the service on one node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replicas_per_node: Option<u32>,
    /// How the scheduler chooses among nodes, from Wharf's own extension key `x-wharf-strategy`.
    #[serde(rename = "x-wharf-strategy", skip_serializing_if = "Strategy::is_spread")]
    pub strategy: Strategy,
}

impl Placement {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How the scheduler chooses among the nodes that could take a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The node with the fewest tasks of the service, then the fewest of all.
    #[default]
    Spread,
    /// The fullest node that still has room.
    Binpack,
}

impl Strategy {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature serde's skip_serializing_if calls")]
    fn is_spread(&self) -> bool {
        *self == Strategy::Spread
    }
}

/// A condition on a node, written `node.labels.disk==ssd`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Constraint {
    /// `node.id`, `node.hostname`, `node.role`, `node.platform.os`, `node.platform.arch`,
    /// `node.labels.<label>` or `engine.labels.<label>`.
    pub key: String,
    /// Equal or not equal.
    pub operator: ConstraintOperator,
    /// What the node's value is compared with.
    pub value: String,
}

/// How a [`Constraint`] compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConstraintOperator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.operator {
            ConstraintOperator::Equal => "==",
            ConstraintOperator::NotEqual => "!=",
        };
        write!(f, "{}{operator}{}", self.key, self.value)
    }
}

impl Serialize for Constraint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What tasks are spread over evenly.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Preference {
    /// The node's attribute, such as `node.labels.zone`.
    pub spread: String,
}

/// When a task that has ended is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
pub struct RestartPolicy {
    /// After which endings.
    pub condition: RestartCondition,
    /// How long to wait first; the cluster's default when absent.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "units::serialize_optional_duration")]
    pub delay: Option<Duration>,
    /// How often at most; without end when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// The time in which attempts are counted; all time when absent.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "units::serialize_optional_duration")]
    pub window: Option<Duration>,
}

/// After which endings a task is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartCondition {
    /// Never.
    None,
    /// When it failed.
    OnFailure,
    /// Always.
    #[default]
    Any,
}

/// How tasks are replaced by an update or a rollback. Absent keys have Docker's documented defaults.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct UpdateConfig {
    /// How many tasks at once; 0 for all.
    pub parallelism: u32,
    /// Time between two batches.
    #[serde(serialize_with = "units::serialize_duration")]
    pub delay: Duration,
    /// What happens when it fails.
    pub failure_action: FailureAction,
    /// How long a new task is watched for failure.
    #[serde(serialize_with = "units::serialize_duration")]
    pub monitor: Duration,
    /// Which part of the tasks may fail, 0 to 1.
    pub max_failure_ratio: f64,
    /// Whether the old task stops before the new one starts.
    pub order: UpdateOrder,
}

impl Default for UpdateConfig {
    fn default() -> Self {
        Self {
            parallelism: 1,
            delay: Duration::ZERO,
            failure_action: FailureAction::Pause,
            monitor: Duration::from_secs(5),
            max_failure_ratio: 0.0,
            order: UpdateOrder::StopFirst,
        }
    }
}

/// What happens when an update or a rollback fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureAction {
    /// It stops where it is.
    #[default]
    Pause,
    /// It goes on.
    Continue,
    /// The service goes back to what it was. Only an update can do this.
    Rollback,
}

/// Whether the old task stops before the new one starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOrder {
    /// The old task stops first.
    #[default]
    StopFirst,
    /// The new task starts first.
    StartFirst,
}
