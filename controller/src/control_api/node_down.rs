//! People say that nodes are lost.

use super::writes::{node, write};
use crate::core::Core;
use tonic::Status;
use wharf_cluster::{command::Command, model::NodeState};
use wharf_proto::v1::{DeclareNodesDownRequest, WriteResponse};

/// Nodes that one request names.
const MAX_NODES: usize = 10_000;

pub(super) async fn declare(core: &Core, request: DeclareNodesDownRequest) -> Result<WriteResponse, Status> {
    if request.nodes.is_empty() || request.nodes.len() > MAX_NODES {
        return Err(Status::invalid_argument(format!("nodes: must name 1 to {MAX_NODES} nodes")));
    }
    let nodes = request.nodes.iter().map(|name| node(core, name)).collect::<Result<Vec<_>, _>>()?;
    // Only the leader knows who answers.
    let term = core
        .dispatcher
        .active()
        .ok_or_else(|| Status::unavailable("this controller leads no longer, or not yet; try again"))?;
    for (node, name) in nodes.iter().zip(&request.nodes) {
        if term.is_answering(*node) {
            return Err(Status::failed_precondition(format!(
                "node {name} answers, so it isn't lost: stop its agent first, or move its tasks away with \
                 `wharf node drain {name}`"
            )));
        }
    }
    let declared = nodes.into_iter().map(|node| (node, NodeState::Down, "declared down".to_owned()));
    write(core, &request.request_id, Command::SetNodeStates { nodes: declared.collect() }).await
}
