//! Events: what the state machine did. Applying them can't fail, and needs no decision.

use crate::{
    command::TaskReport,
    ids::{ControllerId, NodeId, ServiceId, TaskId},
    level::Level,
    model::{
        Availability, ClusterInfo, Controller, DesiredState, JoinRole, Node, NodeDescription, NodeState,
        Rollout, ServiceName, ServiceSpec, Slot, Token, VolumeSpec,
    },
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// One thing that changed. Every event carries all that applying it needs, except the time, which is the command's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are named after what they hold")]
pub enum Event {
    /// The cluster was made.
    ClusterInitialized { info: ClusterInfo },
    /// A role has a new join token.
    TokenRotated { role: JoinRole, token: Token },
    /// The cluster may use more.
    LevelRaised { level: Level },
    /// A controller got its id, its address changed, or whether it is to vote.
    ControllerRecorded { controller: Controller },
    /// A controller is gone.
    ControllerRemoved { controller: ControllerId },

    /// A stack was made or changed.
    StackUpdated { stack: Arc<str>, volumes: BTreeMap<String, VolumeSpec> },
    /// A stack is gone.
    StackRemoved { stack: Arc<str> },
    /// A service was made.
    ServiceCreated { id: ServiceId, name: ServiceName, spec: Arc<ServiceSpec> },
    /// A service's spec changed; its tasks should run `template`. If that is another one, `rollout` says why.
    ServiceUpdated { id: ServiceId, spec: Arc<ServiceSpec>, template: u64, rollout: Option<NewRollout> },
    /// A service is to go, once its tasks have.
    ServiceRemoving { id: ServiceId },
    /// A service is gone.
    ServiceRemoved { id: ServiceId },
    /// A rollout came into another state.
    RolloutChanged { id: ServiceId, rollout: Rollout },
    /// Why tasks of a template version have no node.
    UnplacedExplained { id: ServiceId, template: u64, reason: Option<Arc<str>> },

    /// A node joined.
    NodeRegistered { node: Node },
    /// A node is gone.
    NodeRemoved { node: NodeId },
    /// A node's agent described it anew.
    NodeDescribed { node: NodeId, description: Arc<NodeDescription> },
    /// A node answers, or doesn't.
    NodeStateChanged { node: NodeId, state: NodeState, message: String },
    /// People want something else of a node.
    AvailabilityChanged { node: NodeId, availability: Availability },
    /// A node's labels changed.
    NodeLabelled { node: NodeId, labels: BTreeMap<String, String> },

    /// A task was made.
    TaskCreated {
        id: TaskId,
        service: ServiceId,
        slot: Slot,
        template: u64,
        desired: DesiredState,
        hold_until: Option<crate::ids::Timestamp>,
    },
    /// The scheduler found no node for a task.
    TaskPending { id: TaskId },
    /// A task got its node.
    TaskPlaced { id: TaskId, node: NodeId },
    /// A task should go further.
    TaskDesired { id: TaskId, desired: DesiredState },
    /// An agent said how far a task is.
    TaskReported { report: TaskReport },
    /// A task ended without its agent: its node is gone, or it never had one.
    TaskEnded { id: TaskId, orphaned: bool, message: Arc<str> },
    /// A task is forgotten.
    TaskRemoved { id: TaskId },
}

/// Why a service's tasks should run another template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewRollout {
    /// People changed it, or asked for a restart.
    Update,
    /// An update failed, or people undid it.
    Rollback,
}
