//! Nodes.

use wharf_cluster::{model, state::State};
use wharf_proto::v1;

/// A node, with what it carries.
#[must_use]
pub fn node(state: &State, node: &model::Node) -> v1::Node {
    let load = state.load(node.id);
    v1::Node {
        id: node.id.to_string(),
        name: node.name.clone(),
        labels: node.labels.clone(),
        availability: node.availability.to_string(),
        state: node.status.state.to_string(),
        message: node.status.message.clone(),
        since: node.status.since.0,
        description: Some((&*node.description).into()),
        joined: node.joined.0,
        tasks: u32::try_from(load.tasks.len()).unwrap_or(u32::MAX),
        reserved: Some(load.reserved.into()),
    }
}
