//! What there is in a cluster. Plain data: no behaviour beyond what a value says of itself.

mod container;
mod controller;
mod node;
mod service;
mod stack;
mod task;
mod token;

pub use container::{
    ContainerSpec, HealthCheck, HealthTest, LogConfig, Mount, MountKind, NetworkMode, Port, Protocol, Ulimit,
};
pub use controller::{ClusterInfo, Controller};
pub use node::{Availability, CgroupMode, Node, NodeDescription, NodeState, NodeStatus, Platform};
pub use service::{
    Comparison, Constraint, ConstraintKey, EndpointMode, FailureAction, Mode, Order, Placement, Preference,
    Reservation, Resources, RestartCondition, RestartPolicy, Rollout, RolloutState, Service, ServiceName,
    ServiceSpec, Strategy, TaskTemplate, Template, UpdateConfig,
};
pub use stack::{Stack, StackSpec, VolumeSpec};
pub use task::{DesiredState, Exit, Slot, Task, TaskState, TaskStatus};
pub use token::{JoinRole, Token};
