//! Commands about nodes.

use super::{Planned, Rejected};
use crate::{
    event::Event,
    ids::NodeId,
    model::{Availability, Node, NodeDescription, NodeState, NodeStatus},
    state::State,
};
use std::{collections::BTreeMap, sync::Arc};

fn node(state: &State, id: NodeId) -> Result<&Arc<Node>, Rejected> {
    state.node(id).ok_or_else(|| Rejected::NotFound(format!("there is no node {id}")))
}

pub(super) fn register(state: &State, description: &NodeDescription) -> Planned {
    let taken = |name: &str| state.node_named(name).is_some();
    let wanted = if description.hostname.is_empty() { "node" } else { &description.hostname };
    let mut name = wanted.to_owned();
    let mut count = 2;
    while taken(&name) {
        name = format!("{wanted}-{count}");
        count += 1;
    }
    let node = Node {
        id: NodeId(state.next_id),
        name,
        labels: BTreeMap::new(),
        availability: Availability::Active,
        status: NodeStatus {
            state: NodeState::Unknown,
            since: state.now(),
            message: "joined; no session yet".to_owned(),
        },
        description: Arc::new(description.clone()),
        joined: state.now(),
    };
    Ok(vec![Event::NodeRegistered { node }])
}

pub(super) fn remove(state: &State, id: NodeId, force: bool) -> Planned {
    let node = node(state, id)?;
    if node.status.state == NodeState::Ready && !force {
        return Err(Rejected::Precondition(format!(
            "node {} is ready: drain it and stop its agent first, or remove it with --force",
            node.name
        )));
    }
    let gone: Arc<str> = format!("node {} was removed", node.name).into();
    let mut events: Vec<Event> = state
        .load(id)
        .tasks
        .iter()
        .map(|task| Event::TaskEnded { id: *task, orphaned: true, message: gone.clone() })
        .collect();
    events.push(Event::NodeRemoved { node: id });
    Ok(events)
}

pub(super) fn set_availability(state: &State, id: NodeId, availability: Availability) -> Planned {
    if node(state, id)?.availability == availability {
        return Ok(Vec::new());
    }
    Ok(vec![Event::AvailabilityChanged { node: id, availability }])
}

pub(super) fn set_labels(
    state: &State,
    id: NodeId,
    set: &BTreeMap<String, String>,
    remove: &[String],
) -> Planned {
    let node = node(state, id)?;
    let mut labels = node.labels.clone();
    for key in remove {
        labels.remove(key);
    }
    labels.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
    if labels == node.labels {
        return Ok(Vec::new());
    }
    Ok(vec![Event::NodeLabelled { node: id, labels }])
}

pub(super) fn describe(state: &State, id: NodeId, description: &NodeDescription) -> Planned {
    if *node(state, id)?.description == *description {
        return Ok(Vec::new());
    }
    Ok(vec![Event::NodeDescribed { node: id, description: Arc::new(description.clone()) }])
}

pub(super) fn set_states(state: &State, nodes: &[(NodeId, NodeState, String)]) -> Vec<Event> {
    nodes
        .iter()
        .filter(|(id, to, _)| state.node(*id).is_some_and(|node| node.status.state != *to))
        .map(|(id, to, message)| Event::NodeStateChanged { node: *id, state: *to, message: message.clone() })
        .collect()
}
