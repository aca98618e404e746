//! Services: what should run.

use super::{container::ContainerSpec, node::Platform};
use crate::ids::{ServiceId, Timestamp};
use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

/// A service's full name, `stack/service`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceName {
    /// The stack.
    pub stack: Arc<str>,
    /// The name within the stack.
    pub service: Arc<str>,
}

impl ServiceName {
    /// The name of `service` in `stack`.
    #[must_use]
    pub fn new(stack: &str, service: &str) -> Self {
        ServiceName { stack: stack.into(), service: service.into() }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stack, self.service)
    }
}

impl FromStr for ServiceName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((stack, service)) if !stack.is_empty() && !service.is_empty() && !service.contains('/') => {
                Ok(ServiceName::new(stack, service))
            }
            _ => Err(format!("\"{text}\" is not a service's name: write stack/service")),
        }
    }
}

/// What people ask a service to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    /// How many tasks, and what their end means.
    pub mode: Mode,
    /// Labels of the service.
    pub labels: BTreeMap<String, String>,
    /// What each task runs. A change of it replaces the tasks.
    pub template: TaskTemplate,
    /// How tasks are replaced.
    pub update: UpdateConfig,
    /// How tasks are replaced when an update is undone.
    pub rollback: UpdateConfig,
    /// How other services address it.
    pub endpoint_mode: EndpointMode,
}

/// How many tasks a service has, and what their end means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// So many tasks, wherever there is room.
    Replicated {
        /// How many.
        replicas: u32,
    },
    /// One task on every node that fits.
    Global,
    /// Tasks run until so many have completed.
    ReplicatedJob {
        /// How many must complete.
        completions: u32,
        /// How many may run at the same time.
        concurrent: u32,
    },
    /// One task on every node that fits, until it has completed.
    GlobalJob,
}

impl Default for Mode {
    fn default() -> Self {
        Mode::Replicated { replicas: 1 }
    }
}

impl Mode {
    /// Whether its tasks are meant to complete.
    #[must_use]
    pub fn is_job(self) -> bool {
        matches!(self, Mode::ReplicatedJob { .. } | Mode::GlobalJob)
    }

    /// Whether it has a task on every node.
    #[must_use]
    pub fn is_global(self) -> bool {
        matches!(self, Mode::Global | Mode::GlobalJob)
    }
}

/// What each task of a service runs. A change of it makes new tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskTemplate {
    /// The container.
    pub container: ContainerSpec,
    /// Limits and reservations.
    pub resources: Resources,
    /// What follows when a task ends.
    pub restart: RestartPolicy,
    /// Where tasks may go.
    pub placement: Placement,
    /// Raised by `wharf rollout restart`, so that tasks are replaced though nothing else changed.
    pub restarted: u64,
}

/// Limits and reservations of one task; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// What the kernel holds it to.
    pub limits: Reservation,
    /// Largest number of processes.
    pub pids_limit: u64,
    /// What the scheduler sets aside for it.
    pub reservations: Reservation,
}

/// Processors and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Billionths of a processor.
    pub nano_cpus: u64,
    /// Bytes.
    pub memory: u64,
}

/// What follows when a task ends. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// When a task is replaced.
    pub condition: RestartCondition,
    /// Time between a task's end and its successor's start.
    pub delay: u64,
    /// How often a slot is restarted within `window`; `None` is for ever.
    pub max_attempts: Option<u32>,
    /// Time that restarts are counted over; 0 is the service's whole life.
    pub window: u64,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        RestartPolicy { condition: RestartCondition::Any, delay: 5_000, max_attempts: None, window: 0 }
    }
}

/// When an ended task is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartCondition {
    /// Never.
    None,
    /// When it failed.
    OnFailure,
    /// Always.
    Any,
}

/// Where tasks may go, and where they should rather go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    /// All must hold.
    pub constraints: Vec<Constraint>,
    /// Spread over the values of these, the first one first.
    pub preferences: Vec<Preference>,
    /// Largest number of the service's tasks on one node; 0 is no bound.
    pub max_replicas_per_node: u32,
    /// Platforms that the image is for; empty is every one.
    pub platforms: Vec<Platform>,
    /// Spread over nodes, or fill one after another.
    pub strategy: Strategy,
}

/// How a node is chosen among those that fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    /// The one with the fewest tasks of this service, then the fewest tasks.
    #[default]
    Spread,
    /// The fullest one.
    Binpack,
}

/// Spread over the values of a node's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preference {
    /// What is spread over.
    pub spread: ConstraintKey,
}

/// Something that must hold of a node, for example `node.labels.disk==ssd`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// What is compared.
    pub key: ConstraintKey,
    /// Equal or not.
    pub comparison: Comparison,
    /// With what.
    pub value: String,
}

/// What of a node is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConstraintKey {
    /// `node.id`
    Id,
    /// `node.hostname`
    Hostname,
    /// `node.platform.os`
    Os,
    /// `node.platform.arch`
    Architecture,
    /// `node.role`; every node with an agent is a `worker`.
    Role,
    /// `node.labels.KEY`
    Label(String),
    /// `engine.labels.KEY`
    EngineLabel(String),
}

/// Equal or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl fmt::Display for ConstraintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConstraintKey::Id => f.write_str("node.id"),
            ConstraintKey::Hostname => f.write_str("node.hostname"),
            ConstraintKey::Os => f.write_str("node.platform.os"),
            ConstraintKey::Architecture => f.write_str("node.platform.arch"),
            ConstraintKey::Role => f.write_str("node.role"),
            ConstraintKey::Label(key) => write!(f, "node.labels.{key}"),
            ConstraintKey::EngineLabel(key) => write!(f, "engine.labels.{key}"),
        }
    }
}

impl FromStr for ConstraintKey {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let labelled =
            |prefix: &str| text.strip_prefix(prefix).filter(|key| !key.is_empty()).map(str::to_owned);
        Ok(match text {
            "node.id" => ConstraintKey::Id,
            "node.hostname" => ConstraintKey::Hostname,
            "node.platform.os" => ConstraintKey::Os,
            "node.platform.arch" => ConstraintKey::Architecture,
            "node.role" => ConstraintKey::Role,
            _ => match (labelled("node.labels."), labelled("engine.labels.")) {
                (Some(key), _) => ConstraintKey::Label(key),
                (_, Some(key)) => ConstraintKey::EngineLabel(key),
                _ => {
                    return Err(format!(
                        "\"{text}\" can't be compared: use node.id, node.hostname, node.role, node.platform.os, \
                         node.platform.arch, node.labels.KEY or engine.labels.KEY"
                    ));
                }
            },
        })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.comparison {
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
        };
        write!(f, "{}{sign}{}", self.key, self.value)
    }
}

impl FromStr for Constraint {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let equal = text.split_once("==").map(|(key, value)| (key, Comparison::Equal, value));
        let different = text.split_once("!=").map(|(key, value)| (key, Comparison::NotEqual, value));
        // The operator that comes first is meant: the value may hold the other one.
        let Some((key, comparison, value)) =
            equal.into_iter().chain(different).min_by_key(|(key, ..)| key.len())
        else {
            return Err(format!("constraint \"{text}\" has neither == nor !="));
        };
        Ok(Constraint { key: key.trim().parse()?, comparison, value: value.trim().to_owned() })
    }
}

/// How tasks are replaced. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateConfig {
    /// How many slots at a time; 0 is all of them.
    pub parallelism: u32,
    /// Time between batches.
    pub delay: u64,
    /// What follows when too many new tasks fail.
    pub failure_action: FailureAction,
    /// How long after its start a new task's failure counts against the update.
    pub monitor: u64,
    /// Share of failed tasks that is borne, in millionths.
    pub max_failure_ppm: u32,
    /// Whether the old task is stopped first, or the new one started first.
    pub order: Order,
}

impl Default for UpdateConfig {
    fn default() -> Self {
        UpdateConfig {
            parallelism: 1,
            delay: 0,
            failure_action: FailureAction::Pause,
            monitor: 5_000,
            max_failure_ppm: 0,
            order: Order::StopFirst,
        }
    }
}

/// What follows when too many new tasks of an update fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureAction {
    /// Stop updating, and wait for people.
    Pause,
    /// Go on.
    Continue,
    /// Go back to the version before.
    Rollback,
}

/// Whether the old task is stopped first, or the new one started first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Stop, then start.
    StopFirst,
    /// Start, then stop.
    StartFirst,
}

/// How other services address a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointMode {
    /// Through one address.
    #[default]
    Vip,
    /// By the addresses of its tasks.
    Dnsrr,
}

/// A service as the cluster holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// Its full name.
    pub name: ServiceName,
    /// Grows with each change; a client's check-and-set compares it.
    pub version: u64,
    /// What people ask it to be. `spec.template` is the newest of `templates`.
    pub spec: Arc<ServiceSpec>,
    /// Version of the template that tasks should run.
    pub template: u64,
    /// Templates by version: those that tasks run, and a few older ones to go back to.
    pub templates: OrdMap<u64, Template>,
    /// The update going on, or the last one.
    pub rollout: Option<Rollout>,
    /// Why the scheduler finds no node for tasks of a template version.
    pub unplaced: OrdMap<u64, Arc<str>>,
    /// Being removed: its tasks stop, then it goes.
    pub removing: bool,
    /// When it was made.
    pub created: Timestamp,
    /// When its spec last changed.
    pub updated: Timestamp,
}

impl Service {
    /// How its tasks are replaced now: as an update says, or as a rollback does.
    #[must_use]
    pub fn replacement(&self) -> &UpdateConfig {
        let back = self.rollout.as_ref().is_some_and(|rollout| {
            matches!(
                rollout.state,
                RolloutState::RollingBack | RolloutState::RollbackPaused | RolloutState::RolledBack
            )
        });
        if back { &self.spec.rollback } else { &self.spec.update }
    }
}

/// One version of a service's template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// What tasks of this version run.
    pub spec: Arc<TaskTemplate>,
    /// When it was asked for.
    pub created: Timestamp,
}

/// The replacement of a service's tasks after its template changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// How far it is.
    pub state: RolloutState,
    /// Template version before.
    pub from: u64,
    /// Template version that tasks should run.
    pub to: u64,
    /// When it began.
    pub started: Timestamp,
    /// When it came into `state`.
    pub since: Timestamp,
    /// Why, for people.
    pub message: Arc<str>,
}

/// How far a rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RolloutState {
    /// Tasks are being replaced.
    Updating,
    /// Too many new tasks failed; it waits for people.
    Paused,
    /// Every task runs the new template.
    Completed,
    /// Too many new tasks failed; the old template comes back.
    RollingBack,
    /// Too many tasks failed on the way back; it waits for people.
    RollbackPaused,
    /// Every task runs the old template again.
    RolledBack,
}

impl RolloutState {
    /// Whether tasks are being replaced.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, RolloutState::Updating | RolloutState::RollingBack)
    }
}

impl fmt::Display for RolloutState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RolloutState::Updating => "updating",
            RolloutState::Paused => "paused",
            RolloutState::Completed => "completed",
            RolloutState::RollingBack => "rolling back",
            RolloutState::RollbackPaused => "rollback paused",
            RolloutState::RolledBack => "rolled back",
        })
    }
}
