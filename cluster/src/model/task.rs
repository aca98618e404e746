//! Tasks: attempts to run a service's container.

use crate::ids::{NodeId, ServiceId, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// One attempt to run a service's container. Its template and, once given, its node never change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The service it belongs to.
    pub service: ServiceId,
    /// The place it fills.
    pub slot: Slot,
    /// Version of the service's template that it runs.
    pub template: u64,
    /// Where it runs; `None` until it is assigned.
    pub node: Option<NodeId>,
    /// How far the controller wants it to go. Only ever moves forward.
    pub desired: DesiredState,
    /// How far it has come.
    pub status: TaskStatus,
    /// When it was made.
    pub created: Timestamp,
    /// It stays `ready` until then (a restart's delay).
    pub hold_until: Option<Timestamp>,
}

impl Task {
    /// Whether it has ended, or will never start.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.status.state.is_final()
    }

    /// Whether it is wanted (to become ready or running) and has not ended.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.desired <= DesiredState::Running && !self.is_final()
    }
}

/// The place that a task fills. A slot's tasks replace one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Slot {
    /// One of a replicated service's places, from 1.
    Replica(u32),
    /// A global service's place on one node.
    Node(NodeId),
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::Replica(number) => number.fmt(f),
            Slot::Node(node) => node.fmt(f),
        }
    }
}

/// How far a task has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// Its state.
    pub state: TaskState,
    /// When it came into that state.
    pub since: Timestamp,
    /// Why, for people; empty when there is nothing to say.
    #[serde(deserialize_with = "crate::text::shared")]
    pub message: Arc<str>,
    /// How its container ended.
    pub exit: Option<Exit>,
    /// When its container was started, by the agent's clock.
    pub started: Option<Timestamp>,
    /// When it first was `running`, by the controllers' clock; an update's `monitor` counts from here.
    #[serde(default)]
    pub running: Option<Timestamp>,
    /// Process id of the container on its node.
    pub pid: Option<u32>,
    /// Host ports that it got: (published, target).
    pub ports: Vec<(u16, u16)>,
}

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// Whether the kernel killed it for want of memory.
    pub oom_killed: bool,
}

/// A task's state. In this order, never backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaskState {
    /// Made by the orchestrator; the scheduler has not looked at it.
    New,
    /// The scheduler found no node for it yet; the reason is known.
    Pending,
    /// It has a node.
    Assigned,
    /// The agent has taken it.
    Accepted,
    /// Its image is being pulled and its container made.
    Preparing,
    /// Everything is there; it starts when wanted `running`.
    Ready,
    /// Its container runs and is not known to be healthy yet.
    Starting,
    /// It runs, and is healthy if it has a health check.
    Running,
    /// It ended by itself with exit code 0.
    Complete,
    /// It ended by itself otherwise, or could not be prepared or started.
    Failed,
    /// The agent refused it.
    Rejected,
    /// It ended because it was told to.
    Shutdown,
    /// Its node is gone for good, or has been silent for too long.
    Orphaned,
}

impl TaskState {
    /// Every state, in order.
    pub const ALL: [TaskState; 13] = [
        TaskState::New,
        TaskState::Pending,
        TaskState::Assigned,
        TaskState::Accepted,
        TaskState::Preparing,
        TaskState::Ready,
        TaskState::Starting,
        TaskState::Running,
        TaskState::Complete,
        TaskState::Failed,
        TaskState::Rejected,
        TaskState::Shutdown,
        TaskState::Orphaned,
    ];

    /// Whether nothing follows this state.
    #[must_use]
    pub fn is_final(self) -> bool {
        self >= TaskState::Complete
    }

    /// Whether a task may go from this state to `next`: forward only, and nothing follows a final state.
    #[must_use]
    pub fn may_become(self, next: TaskState) -> bool {
        !self.is_final() && next > self
    }

    /// The state's name, lowercase.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TaskState::New => "new",
            TaskState::Pending => "pending",
            TaskState::Assigned => "assigned",
            TaskState::Accepted => "accepted",
            TaskState::Preparing => "preparing",
            TaskState::Ready => "ready",
            TaskState::Starting => "starting",
            TaskState::Running => "running",
            TaskState::Complete => "complete",
            TaskState::Failed => "failed",
            TaskState::Rejected => "rejected",
            TaskState::Shutdown => "shutdown",
            TaskState::Orphaned => "orphaned",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for TaskState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        TaskState::ALL
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or_else(|| format!("\"{text}\" is not a task state"))
    }
}

/// How far the controller wants a task to go. Only ever moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DesiredState {
    /// Prepare everything, don't start.
    Ready,
    /// Run.
    Running,
    /// Stop, and keep the record.
    Shutdown,
    /// Stop, and forget it.
    Remove,
}

impl fmt::Display for DesiredState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DesiredState::Ready => "ready",
            DesiredState::Running => "running",
            DesiredState::Shutdown => "shutdown",
            DesiredState::Remove => "remove",
        })
    }
}
