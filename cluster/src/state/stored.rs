//! The state as snapshots hold it.

use super::{History, NodeLoad, Requests, State};
use crate::{
    ids::Timestamp,
    model::{ClusterInfo, Controller, DesiredState, JoinRole, Node, Service, Stack, Task, Token},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Lists instead of maps: the keys are in the values. A field added later needs a default.
#[derive(Serialize, Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct Stored {
    cluster: Option<ClusterInfo>,
    tokens: Vec<(JoinRole, Token)>,
    controllers: Vec<Controller>,
    nodes: Vec<Arc<Node>>,
    stacks: Vec<Arc<Stack>>,
    services: Vec<Arc<Service>>,
    tasks: Vec<Arc<Task>>,
    history: History,
    requests: Requests,
    next_id: u64,
    now: Timestamp,
}

impl From<State> for Stored {
    fn from(state: State) -> Self {
        Stored {
            cluster: state.cluster,
            tokens: state.tokens.into_iter().collect(),
            controllers: state.controllers.values().cloned().collect(),
            nodes: state.nodes.values().cloned().collect(),
            stacks: state.stacks.values().cloned().collect(),
            services: state.services.values().cloned().collect(),
            tasks: state.tasks.values().cloned().collect(),
            history: state.history,
            requests: state.requests,
            next_id: state.next_id,
            now: state.now,
        }
    }
}

impl From<Stored> for State {
    fn from(stored: Stored) -> Self {
        let mut state = State {
            cluster: stored.cluster,
            tokens: stored.tokens.into_iter().collect(),
            controllers: stored
                .controllers
                .into_iter()
                .map(|controller| (controller.id, controller))
                .collect(),
            nodes: stored.nodes.into_iter().map(|node| (node.id, node)).collect(),
            stacks: stored.stacks.into_iter().map(|stack| (Arc::from(stack.name.as_str()), stack)).collect(),
            services: stored.services.into_iter().map(|service| (service.id, service)).collect(),
            history: stored.history,
            requests: stored.requests,
            next_id: stored.next_id,
            now: stored.now,
            ..State::default()
        };
        for service in state.services.values().filter(|service| !service.removing) {
            state.service_names.insert(service.name.clone(), service.id);
        }
        for task in stored.tasks {
            state.slots.entry((task.service, task.slot)).or_default().insert(task.id);
            if task.node.is_none() && task.is_wanted() {
                state.unplaced.entry((task.service, task.template)).or_default().insert(task.id);
            }
            if let Some(node) = task.node
                && !task.is_final()
                && let Some(template) = state.template_of(&task).cloned()
            {
                let load: &mut NodeLoad = state.loads.entry(node).or_default();
                load.add(task.id, task.service, &template);
                if task.desired > DesiredState::Running {
                    load.stop(task.id, task.service);
                }
            }
            state.tasks.insert(task.id, task);
        }
        state
    }
}
