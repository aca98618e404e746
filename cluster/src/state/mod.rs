//! The replicated state: persistent maps, so that a copy is a few pointers and a snapshot or a reader never stops it.

mod apply;
mod founding;
mod history;
mod load;
mod plan;
mod queries;
mod requests;
mod stored;

pub use apply::apply;
pub use founding::Founder;
pub use history::Record;
pub use load::NodeLoad;
pub use plan::{Rejected, plan};
pub use requests::{Outcome, Reply};
pub use stored::Fact;

use crate::{
    command::Envelope,
    event::Event,
    ids::{ControllerId, NodeId, ServiceId, TaskId, Timestamp},
    level::Level,
    model::{ClusterInfo, Controller, JoinRole, Node, Service, ServiceName, Slot, Stack, Task, Token},
    planted::{self, Bug},
};
use history::History;
use imbl::{OrdMap, OrdSet};
use requests::Requests;
use std::sync::Arc;

/// Everything that the cluster has agreed on, with the indexes that answer its questions.
///
/// Indexes are rebuilt when a snapshot is read, so they can't disagree with what they index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    level: Level,
    cluster: Option<ClusterInfo>,
    tokens: OrdMap<JoinRole, Token>,
    controllers: OrdMap<ControllerId, Controller>,
    nodes: OrdMap<NodeId, Arc<Node>>,
    stacks: OrdMap<Arc<str>, Arc<Stack>>,
    services: OrdMap<ServiceId, Arc<Service>>,
    tasks: OrdMap<TaskId, Arc<Task>>,
    history: History,
    requests: Requests,
    /// The next id; ids are never used twice.
    next_id: u64,
    /// The latest time of any command.
    now: Timestamp,

    node_names: OrdMap<Arc<str>, NodeId>,
    service_names: OrdMap<ServiceName, ServiceId>,
    /// One set for all slots: most have one task, and a set each would cost more than the task.
    slots: OrdSet<(ServiceId, Slot, TaskId)>,
    loads: OrdMap<NodeId, NodeLoad>,
    /// By service and template version: the scheduler decides about all tasks of one together.
    unplaced: OrdMap<(ServiceId, u64), OrdSet<TaskId>>,
}

impl State {
    /// Does what `envelope` asks, or refuses: the whole step of a replica. A request that was seen before changes
    /// nothing and gets its first answer.
    pub fn execute(&mut self, envelope: &Envelope) -> (Outcome, Vec<Event>) {
        self.now = self.now.max(envelope.at);
        if let Some(request) = envelope.request
            && let Some(outcome) = self.requests.answer(request)
            && !planted::is(Bug::RequestsForgotten)
        {
            return (outcome.clone(), Vec::new());
        }
        let (outcome, events) = match plan(self, &envelope.command) {
            Ok(events) => {
                for event in &events {
                    apply(self, event);
                }
                (Ok(Reply::of(self, &envelope.command, &events)), events)
            }
            Err(rejected) => (Err(rejected), Vec::new()),
        };
        if let Some(request) = envelope.request {
            self.requests.record(request, self.now, outcome.clone());
        }
        (outcome, events)
    }
}
