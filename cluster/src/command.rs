//! Commands: changes that are proposed to Raft. Each replica plans and applies them in log order.

use crate::{
    ids::{ControllerId, NodeId, RequestId, ServiceId, TaskId, Timestamp},
    level::Level,
    model::{
        Availability, DesiredState, Exit, JoinRole, NodeDescription, NodeState, RolloutState, ServiceName,
        Slot, StackSpec, TaskState,
    },
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// A command as it stands in the log: with the proposer's clock, and the client's request id if it came from a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// What the leader's clock said. The state's time never goes back, whatever clocks do.
    pub at: Timestamp,
    /// Names the client's request, so that a retry changes nothing and gets the first answer.
    pub request: Option<RequestId>,
    /// The change.
    pub command: Command,
}

/// A change that the state machine may accept or refuse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Makes the cluster: its name, its certificate authority, its join tokens. The first command of a log.
    InitCluster {
        /// Name of the cluster in every certificate.
        id: String,
        /// Certificate of its authority, PEM.
        ca_cert: String,
        /// Key of its authority, PEM.
        ca_key: String,
        /// Secrets of the join tokens.
        tokens: BTreeMap<JoinRole, String>,
    },
    /// Replaces the secret of a role's join token.
    RotateToken {
        /// The role.
        role: JoinRole,
        /// The new secret, made at random by the leader.
        secret: String,
        /// When it stops being taken.
        expires: Option<Timestamp>,
    },
    /// Gives an id to a controller that joins. It becomes a member of Raft's group by a membership change.
    AddController {
        /// Host name.
        name: String,
        /// `host:port`.
        address: String,
        /// The most that it knows; refused if the cluster is beyond that.
        #[serde(default, skip_serializing_if = "Level::is_first")]
        level: Level,
    },
    /// Records that the bootstrapping controller, or one with a new address, is reached at `address`.
    SetControllerAddress {
        /// Which one.
        controller: ControllerId,
        /// Host name.
        name: String,
        /// `host:port`.
        address: String,
    },
    /// Forgets a controller that has left Raft's group.
    RemoveController {
        /// Which one.
        controller: ControllerId,
    },
    /// Says whether a controller is to vote. It becomes a voter or a learner by a membership change.
    SetControllerVotes {
        /// Which one.
        controller: ControllerId,
        /// Whether it is to.
        votes: bool,
    },
    /// Lets the cluster use what every member has said that it knows. Of the level that it raises to.
    RaiseLevel {
        /// The new level; one that isn't higher changes nothing.
        to: Level,
    },

    /// Makes a stack what the spec says: services are created, changed and removed.
    ApplyStack {
        /// What it should be.
        spec: StackSpec,
        /// Refuse unless the stack has this version (0: doesn't exist). `None` applies over whatever there is.
        expected_version: Option<u64>,
    },
    /// Removes a stack and its services.
    RemoveStack {
        /// Its name.
        stack: String,
    },
    /// Removes one service of a stack.
    RemoveService {
        /// Its name.
        service: ServiceName,
    },
    /// Sets the number of replicas of services, all or none.
    ScaleServices {
        /// Name and number.
        replicas: Vec<(ServiceName, u32)>,
    },
    /// Replaces every task of a service though its spec is unchanged.
    RestartService {
        /// Its name.
        service: ServiceName,
    },
    /// Goes back to an older template of a service.
    UndoRollout {
        /// Its name.
        service: ServiceName,
        /// Template version to go to; `None` is the one before the current.
        to: Option<u64>,
    },

    /// Gives an id to a node that joins.
    RegisterNode {
        /// What its agent says of it.
        description: NodeDescription,
    },
    /// Forgets a node; its tasks become orphaned. Refused while the node is ready, unless forced.
    RemoveNode {
        /// Which one.
        node: NodeId,
        /// Also if it is ready.
        force: bool,
    },
    /// Sets what people want of a node.
    SetAvailability {
        /// Which one.
        node: NodeId,
        /// What they want.
        availability: Availability,
    },
    /// Changes a node's labels.
    SetNodeLabels {
        /// Which one.
        node: NodeId,
        /// Labels to set.
        set: BTreeMap<String, String>,
        /// Keys to remove.
        remove: Vec<String>,
    },

    /// The dispatcher: what an agent said of its node when its session began or its machine changed.
    DescribeNode {
        /// Which one.
        node: NodeId,
        /// What it says.
        description: NodeDescription,
    },
    /// The dispatcher: whether nodes answer.
    SetNodeStates {
        /// Node, state, and why.
        nodes: Vec<(NodeId, NodeState, String)>,
    },
    /// The dispatcher: what agents said of their tasks.
    ReportTasks {
        /// One report a task; later ones of the same task count.
        reports: Vec<TaskReport>,
    },
    /// Orchestrators: new tasks in slots.
    CreateTasks {
        /// The tasks.
        tasks: Vec<NewTask>,
    },
    /// The scheduler: nodes for tasks. A placement that is no longer feasible is dropped, the others stand.
    PlaceTasks {
        /// Task and node.
        placements: Vec<(TaskId, NodeId)>,
    },
    /// The scheduler: why tasks of a service's template version have no node; `None` takes the reason back.
    ExplainUnplaced {
        /// Service, template version, reason.
        reasons: Vec<(ServiceId, u64, Option<Arc<str>>)>,
    },
    /// Orchestrators and supervisors: how far tasks should go. Only forward.
    SetDesired {
        /// Task and desired state.
        tasks: Vec<(TaskId, DesiredState)>,
    },
    /// The reaper: forgets tasks that have ended, or can be given up.
    RemoveTasks {
        /// Which ones.
        tasks: Vec<TaskId>,
    },
    /// The reaper: declares tasks of nodes that have been silent for too long, or are gone, as orphaned.
    OrphanTasks {
        /// Which ones.
        tasks: Vec<TaskId>,
    },
    /// The update supervisor: how far a rollout is.
    SetRollout {
        /// The service.
        service: ServiceId,
        /// Refuse unless the rollout still leads to this template.
        to: u64,
        /// The new state. `RollingBack` also makes the template before the current one again.
        state: RolloutState,
        /// Why, for people.
        message: Arc<str>,
    },
    /// The orchestrator: forgets a service whose removal is complete (no task left).
    ForgetService {
        /// Which one.
        service: ServiceId,
    },
}

/// A task that an orchestrator asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewTask {
    /// The service.
    pub service: ServiceId,
    /// The place to fill.
    pub slot: Slot,
    /// Template version; dropped if the service no longer has it.
    pub template: u64,
    /// `Ready` (it waits for a supervisor) or `Running`.
    pub desired: DesiredState,
    /// When a supervisor may let it run.
    pub hold_until: Option<Timestamp>,
}

/// What an agent said of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// The task.
    pub task: TaskId,
    /// The node that says so; a report from another node than the task's is dropped.
    pub node: NodeId,
    /// The state it has reached; a report that goes backwards is dropped.
    pub state: TaskState,
    /// When it came into that state, by the agent's clock.
    pub at: Timestamp,
    /// Why, for people.
    #[serde(deserialize_with = "crate::text::shared")]
    pub message: Arc<str>,
    /// How the container ended.
    pub exit: Option<Exit>,
    /// Process id of the container.
    pub pid: Option<u32>,
    /// Host ports that it got: (published, target).
    pub ports: Vec<(u16, u16)>,
}
