//! What the agent was told of one task, and what it has to say of it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use wharf_cluster::ids::TaskId;
use wharf_cluster::model::{ContainerSpec, DesiredState, Exit, Reservation, Resources, TaskState};
use wharf_proto::{Invalid, convert, v1};

/// A task as a controller assigned it. All but `desired` never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// Its id.
    pub id: TaskId,
    /// `shop/web.3`
    pub name: String,
    /// The stack.
    pub stack: String,
    /// Full name of the service.
    pub service: String,
    /// 0 for a global service.
    pub slot: u32,
    /// How far it should go.
    pub desired: DesiredState,
    /// What it runs, or why that can't be understood: such a task is rejected, and the others go on.
    pub container: Result<ContainerSpec, Invalid>,
    /// Its limits.
    pub resources: Resources,
}

impl TryFrom<v1::AssignedTask> for Assigned {
    type Error = String;

    fn try_from(message: v1::AssignedTask) -> Result<Self, String> {
        let id = message.id.parse::<TaskId>().map_err(|error| error.to_string())?;
        let desired = convert::desired_state(&message.desired).map_err(|error| error.to_string())?;
        let reservation = |of: Option<v1::Reservation>| {
            of.map(|r| Reservation { nano_cpus: r.nano_cpus, memory: r.memory }).unwrap_or_default()
        };
        let resources = message.resources.unwrap_or_default();
        Ok(Assigned {
            id,
            name: message.name,
            stack: message.stack,
            service: message.service,
            slot: message.slot,
            desired,
            container: message.container.unwrap_or_default().try_into(),
            resources: Resources {
                limits: reservation(resources.limits),
                pids_limit: resources.pids_limit,
                reservations: reservation(resources.reservations),
            },
        })
    }
}

/// How far a task has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its state.
    pub state: TaskState,
    /// When it came into it: milliseconds since 1970.
    pub at: u64,
    /// Why, for people; often empty.
    pub message: String,
    /// How its container ended.
    pub exit: Option<Exit>,
    /// The container's first process.
    pub pid: Option<u32>,
    /// Host ports it got: published, target.
    pub ports: Vec<(u16, u16)>,
}

impl Status {
    /// A state with a message, from now on.
    pub fn new(state: TaskState, message: impl Into<String>) -> Self {
        Status { state, at: now(), message: message.into(), exit: None, pid: None, ports: Vec::new() }
    }

    /// What is sent to the controller.
    pub fn report(&self, task: TaskId) -> v1::TaskReport {
        let ports = self.ports.iter().map(|(published, target)| v1::PublishedPort {
            published: u32::from(*published),
            target: u32::from(*target),
        });
        v1::TaskReport {
            task: task.to_string(),
            state: self.state.name().to_owned(),
            at: self.at,
            message: self.message.clone(),
            exit_code: self.exit.map(|exit| exit.code),
            oom_killed: self.exit.is_some_and(|exit| exit.oom_killed),
            pid: self.pid,
            ports: ports.collect(),
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    millis(SystemTime::now())
}

/// Milliseconds since 1970.
pub(crate) fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
