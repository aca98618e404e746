//! Reads.

use super::{Answer, selection::Selection};
use crate::{
    core::{Core, LEADER_PATIENCE},
    gate::Caller,
    replica::View,
};
use http::HeaderMap;
use tonic::{Request, Response, Status, metadata::MetadataMap, transport::Channel};
use wharf_proto::v1::{GetRequest, GetResponse, Kind, control_api_client::ControlApiClient};

pub(super) async fn get(core: &Core, request: Request<GetRequest>) -> Answer<GetResponse> {
    if let Some((mut leader, request)) = relay(core, &request).await? {
        return leader.get(request).await;
    }
    let request = request.into_inner();
    let stale = request.stale;
    let selection = Selection::of(request)?;
    let View { index, state } = if stale { core.published.view() } else { core.read().await? };
    let found = selection.objects(core, &state);
    selection.check_names(&state, &found)?;
    Ok(Response::new(GetResponse { objects: found.into_values().collect(), index }))
}

/// What only the leader knows is asked of the leader: how its peers are. `None` if that is this controller, or its own
/// opinion will do.
pub(super) async fn relay(
    core: &Core,
    request: &Request<GetRequest>,
) -> Result<Option<(ControlApiClient<Channel>, Request<GetRequest>)>, Status> {
    let caller = Caller::expect(request)?;
    let asked = request.get_ref();
    if asked.kind() != Kind::Controller || asked.stale || caller.is_forwarded() {
        return Ok(None);
    }
    let mut leadership = core.leadership.clone();
    let known =
        leadership.wait_for(|now| now.leading || now.leader.is_some_and(|leader| leader != core.id.0));
    let known = match tokio::time::timeout(LEADER_PATIENCE, known).await {
        Ok(Ok(known)) => *known,
        _ => return Err(Status::unavailable("no leader is known; `--stale` shows what this controller has")),
    };
    let leader = match known.leader {
        Some(leader) if !known.leading => leader,
        _ => return Ok(None),
    };
    let channel = core.peers.channel(leader).map_err(|error| Status::unavailable(error.to_string()))?;
    let mut headers = HeaderMap::new();
    caller.describe(&mut headers);
    let metadata = MetadataMap::from_headers(headers);
    let relayed = Request::from_parts(metadata, http::Extensions::new(), asked.clone());
    Ok(Some((ControlApiClient::new(channel), relayed)))
}
