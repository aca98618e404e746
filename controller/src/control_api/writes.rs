//! Writes: from a checked request to a command, and to what came of it.

use crate::{
    core::Core,
    propose::{Done, WriteError, request_id},
};
use std::collections::BTreeMap;
use tonic::Status;
use wharf_cluster::{
    command::Command,
    ids::NodeId,
    model::{ServiceName, StackSpec},
    state::{Reply, State},
};
use wharf_proto::{
    convert::availability,
    v1::{
        ApplyStackRequest, RemoveNodeRequest, RemoveServiceRequest, RemoveStackRequest,
        RestartServiceRequest, ScaleServicesRequest, SetAvailabilityRequest, SetNodeLabelsRequest,
        StackSpec as StackMessage, UndoRolloutRequest, WriteResponse,
    },
};

/// Services that one request scales.
const MAX_SERVICES: usize = 1000;
/// Labels that one request changes.
const MAX_LABELS: usize = 256;
/// Longest label key or value.
const MAX_LABEL: usize = 1024;

/// Proposes a client's command.
pub(super) async fn write(core: &Core, id: &[u8], command: Command) -> Result<WriteResponse, Status> {
    let Done { index, reply } = core.proposer.propose(Some(request_id(id)?), command).await?;
    Ok(response(index, reply))
}

fn response(index: u64, reply: Reply) -> WriteResponse {
    let version = match reply {
        Reply::Version(version) => version,
        Reply::Done | Reply::Node(_) | Reply::Controller(_) => 0,
    };
    WriteResponse { index, version }
}

/// What is there by a name. A retry may find nothing, because its first attempt has removed it: it gets that one's
/// answer.
pub(super) enum Named<T> {
    /// This is it.
    Found(T),
    /// The request was answered before.
    Answered(WriteResponse),
}

/// Looks for what a removal is about in the present state.
pub(super) fn named<T>(
    core: &Core,
    id: &[u8],
    find: impl FnOnce(&State) -> Result<T, Status>,
) -> Result<Named<T>, Status> {
    let request = request_id(id)?;
    let view = core.published.view();
    match (find(&view.state), view.state.answer(request)) {
        (Ok(found), _) => Ok(Named::Found(found)),
        (Err(_), Some(Ok(reply))) => Ok(Named::Answered(response(view.index, *reply))),
        (Err(_), Some(Err(refusal))) => Err(WriteError::from(refusal.clone()).into()),
        (Err(missing), None) => Err(missing),
    }
}

/// A stack's spec, checked.
pub(super) fn spec(message: Option<StackMessage>) -> Result<StackSpec, Status> {
    let message = message.ok_or_else(|| Status::invalid_argument("spec: is missing"))?;
    Ok(message.try_into()?)
}

pub(super) fn service_name(text: &str) -> Result<ServiceName, Status> {
    text.parse().map_err(|error: String| Status::invalid_argument(error))
}

/// The node of this name or id.
pub(super) fn node(core: &Core, name: &str) -> Result<NodeId, Status> {
    node_in(&core.published.state(), name)
}

fn node_in(state: &State, name: &str) -> Result<NodeId, Status> {
    let node = state.find_node(name).map(|node| node.id);
    node.ok_or_else(|| Status::not_found(format!("there is no node {name}")))
}

pub(super) async fn apply_stack(core: &Core, request: ApplyStackRequest) -> Result<WriteResponse, Status> {
    let spec = spec(request.spec)?;
    let command = Command::ApplyStack { spec, expected_version: request.expected_version };
    write(core, &request.request_id, command).await
}

pub(super) async fn remove_stack(core: &Core, request: RemoveStackRequest) -> Result<WriteResponse, Status> {
    write(core, &request.request_id, Command::RemoveStack { stack: request.stack }).await
}

pub(super) async fn remove_service(
    core: &Core,
    request: RemoveServiceRequest,
) -> Result<WriteResponse, Status> {
    let service = service_name(&request.service)?;
    write(core, &request.request_id, Command::RemoveService { service }).await
}

pub(super) async fn scale_services(
    core: &Core,
    request: ScaleServicesRequest,
) -> Result<WriteResponse, Status> {
    if request.replicas.is_empty() || request.replicas.len() > MAX_SERVICES {
        return Err(Status::invalid_argument(format!("replicas: must name 1 to {MAX_SERVICES} services")));
    }
    let replicas = request
        .replicas
        .iter()
        .map(|(name, number)| Ok((service_name(name)?, *number)))
        .collect::<Result<_, Status>>()?;
    write(core, &request.request_id, Command::ScaleServices { replicas }).await
}

pub(super) async fn restart_service(
    core: &Core,
    request: RestartServiceRequest,
) -> Result<WriteResponse, Status> {
    let service = service_name(&request.service)?;
    write(core, &request.request_id, Command::RestartService { service }).await
}

pub(super) async fn undo_rollout(core: &Core, request: UndoRolloutRequest) -> Result<WriteResponse, Status> {
    let service = service_name(&request.service)?;
    write(core, &request.request_id, Command::UndoRollout { service, to: request.to }).await
}

pub(super) async fn set_availability(
    core: &Core,
    request: SetAvailabilityRequest,
) -> Result<WriteResponse, Status> {
    let availability = availability(&request.availability)?;
    let node = node(core, &request.node)?;
    write(core, &request.request_id, Command::SetAvailability { node, availability }).await
}

pub(super) async fn set_node_labels(
    core: &Core,
    request: SetNodeLabelsRequest,
) -> Result<WriteResponse, Status> {
    check_labels(&request.set, &request.remove)?;
    let node = node(core, &request.node)?;
    let command = Command::SetNodeLabels { node, set: request.set, remove: request.remove };
    write(core, &request.request_id, command).await
}

fn check_labels(set: &BTreeMap<String, String>, remove: &[String]) -> Result<(), Status> {
    if set.len() + remove.len() > MAX_LABELS {
        return Err(Status::invalid_argument(format!("set: more than {MAX_LABELS} labels at once")));
    }
    for (key, value) in set {
        if key.is_empty() || key.len() > MAX_LABEL || value.len() > MAX_LABEL {
            return Err(Status::invalid_argument(format!(
                "set: a label's key has 1 to {MAX_LABEL} characters, its value at most {MAX_LABEL}"
            )));
        }
    }
    Ok(())
}

pub(super) async fn remove_node(core: &Core, request: RemoveNodeRequest) -> Result<WriteResponse, Status> {
    match named(core, &request.request_id, |state| node_in(state, &request.node))? {
        Named::Found(node) => {
            write(core, &request.request_id, Command::RemoveNode { node, force: request.force }).await
        }
        Named::Answered(answer) => Ok(answer),
    }
}
