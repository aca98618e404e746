//! Changes of the controllers themselves.

use super::writes::write;
use crate::{
    core::Core,
    propose::request_id,
    raft::{RaftStatus, TransferError},
};
use std::time::Duration;
use tonic::Status;
use wharf_cluster::{command::Command, ids::ControllerId, state::State};
use wharf_proto::v1::{RemoveControllerRequest, TransferLeadershipRequest, WriteResponse};

/// How long a removal waits for Raft's group to follow.
const PATIENCE: Duration = Duration::from_secs(5);

fn find(state: &State, name: &str) -> Result<ControllerId, Status> {
    let by_id = || name.parse().ok().filter(|id| state.controller(*id).is_some());
    let by_name = state.controllers().filter(|controller| controller.name == name).map(|known| known.id);
    match by_name.collect::<Vec<_>>()[..] {
        [one] => Ok(one),
        [] => by_id().ok_or_else(|| Status::not_found(format!("there is no controller {name}"))),
        _ => by_id().ok_or_else(|| {
            Status::failed_precondition(format!("several controllers are called {name}: use the id"))
        }),
    }
}

/// Whether the voters that are heard of would still be a majority without `gone`.
fn keeps_quorum(status: &RaftStatus, gone: u64) -> bool {
    let heard = |id: u64| id == status.id || status.peers.get(&id).is_some_and(|peer| peer.active);
    let left: Vec<u64> = status.voters.iter().copied().filter(|id| *id != gone).collect();
    let active = left.iter().filter(|id| heard(**id)).count();
    // A learner's removal changes no majority.
    !status.voters.contains(&gone) || active * 2 > left.len()
}

pub(super) async fn remove(core: &Core, request: RemoveControllerRequest) -> Result<WriteResponse, Status> {
    let state = core.published.state();
    let id = match find(&state, &request.controller) {
        Ok(id) => id,
        // A retry finds it gone: its first answer is behind its request id.
        Err(missing) => request.controller.parse().map_err(|_| missing)?,
    };
    let status = core.raft.status().borrow().clone();
    if status.voters == [id.0] {
        return Err(Status::failed_precondition(
            "this is the only controller that votes: join another one first, or the cluster would be gone",
        ));
    }
    if !keeps_quorum(&status, id.0) {
        return Err(Status::failed_precondition(format!(
            "without controller {} too few of the others answer to go on: start them first (wharf get controllers)",
            request.controller
        )));
    }
    let done = write(core, &request.request_id, Command::RemoveController { controller: id }).await?;
    let mut status = core.raft.status();
    let left = status.wait_for(|status| {
        let member = status.voters.contains(&id.0) || status.learners.contains(&id.0);
        !member || !status.leading
    });
    match tokio::time::timeout(PATIENCE, left).await {
        Ok(_) => Ok(done),
        Err(_) => Err(Status::deadline_exceeded(
            "the controller is off the list, but the others have not agreed to go on without it yet: see wharf get controllers",
        )),
    }
}

pub(super) async fn transfer(
    core: &Core,
    request: TransferLeadershipRequest,
) -> Result<WriteResponse, Status> {
    request_id(&request.request_id)?;
    let id = find(&core.published.state(), &request.controller)?;
    if id != core.id {
        core.raft.transfer_leader(id.0).await.map_err(|error| {
            let message = error.to_string();
            match error {
                TransferError::NotLeader { .. } | TransferError::Stopped => Status::unavailable(message),
                TransferError::NotVoter(_) => Status::failed_precondition(message),
                TransferError::TimedOut(_) => Status::deadline_exceeded(message),
            }
        })?;
    }
    Ok(WriteResponse { index: core.published.view().index, version: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{PeerProgress, PeerState};

    #[test]
    fn a_removal_that_would_lose_the_majority_is_noticed() {
        let peer = |active| PeerProgress { matched: 1, state: PeerState::Replicate, active };
        let status = RaftStatus {
            id: 1,
            voters: vec![1, 2, 3],
            learners: vec![4],
            peers: [(2, peer(true)), (3, peer(false)), (4, peer(false))].into(),
            ..RaftStatus::default()
        };
        assert!(keeps_quorum(&status, 3));
        assert!(keeps_quorum(&status, 4));
        assert!(!keeps_quorum(&status, 2));
        assert!(!keeps_quorum(&status, 1));
    }
}
