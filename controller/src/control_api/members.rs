//! Changes of the controllers themselves. The table of controllers is what is changed; the leader makes Raft's group
//! follow (`leader::members`), and these calls wait for that: who is told that a controller is out may stop its program.

use super::writes::{Named, named, write};
use crate::{
    core::Core,
    membership::{check_leaving, is_heard, is_settled},
    propose::request_id,
    raft::{RaftStatus, TransferError},
};
use std::time::Duration;
use tonic::Status;
use wharf_cluster::{command::Command, ids::ControllerId, model::Controller, state::State};
use wharf_proto::v1::{
    RemoveControllerRequest, SetControllerVotesRequest, TransferLeadershipRequest, WriteResponse,
};

/// How long a change waits for Raft's group to follow.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take until it is clear who answers: a leader counts anew at every election timeout.
const HEARING: Duration = Duration::from_millis(1500);

fn find(state: &State, name: &str) -> Result<Controller, Status> {
    let by_id = || name.parse().ok().and_then(|id: ControllerId| state.controller(id));
    let by_name = state.controllers().filter(|controller| controller.name == name);
    let found = match by_name.collect::<Vec<_>>()[..] {
        [one] => Ok(one),
        [] => by_id().ok_or_else(|| Status::not_found(format!("there is no controller {name}"))),
        _ => by_id().ok_or_else(|| {
            Status::failed_precondition(format!("several controllers are called {name}: use the id"))
        }),
    };
    found.cloned()
}

pub(super) async fn remove(core: &Core, request: RemoveControllerRequest) -> Result<WriteResponse, Status> {
    let done = match named(core, &request.request_id, |state| find(state, &request.controller))? {
        Named::Found(gone) => {
            allowed(core, |state, status| {
                check_leaving(state, status, &gone)?;
                if !request.force && !is_heard(status, gone.id.0) {
                    return Err(format!(
                        "controller {} doesn't answer: start it, so that it learns that it is out, or give --force if \
                         it is gone for good",
                        gone.name
                    ));
                }
                Ok(())
            })
            .await?;
            write(core, &request.request_id, Command::RemoveController { controller: gone.id }).await?
        }
        Named::Answered(answer) => answer,
    };
    settled(core, done, "the controller is off the list").await
}

pub(super) async fn set_votes(
    core: &Core,
    request: SetControllerVotesRequest,
) -> Result<WriteResponse, Status> {
    let votes = request.votes;
    let controller = find(&core.published.state(), &request.controller)?;
    if !votes && controller.votes {
        allowed(core, |state, status| check_leaving(state, status, &controller)).await?;
    }
    let command = Command::SetControllerVotes { controller: controller.id, votes };
    let done = write(core, &request.request_id, command).await?;
    if !votes {
        return settled(core, done, "the controller is not to vote").await;
    }
    let id = controller.id.0;
    follow(
        core,
        done,
        |_, status| status.voters.contains(&id),
        || {
            format!(
                "controller {} is to vote, and will once it has caught up: see wharf get controllers",
                controller.name
            )
        },
    )
    .await
}

/// Waits until `check` allows a change, for as long as it may take to hear from everybody.
async fn allowed(
    core: &Core,
    check: impl Fn(&State, &RaftStatus) -> Result<(), String>,
) -> Result<(), Status> {
    let state = core.published.state();
    let mut status = core.raft.status();
    let verdict = status.wait_for(|status| check(&state, status).is_ok());
    if matches!(tokio::time::timeout(HEARING, verdict).await, Ok(Ok(_))) {
        return Ok(());
    }
    check(&state, &core.raft.status().borrow()).map_err(Status::failed_precondition)
}

async fn settled(core: &Core, done: WriteResponse, fact: &str) -> Result<WriteResponse, Status> {
    let doubt = || {
        format!("{fact}, but the others have not agreed to go on without it yet: see wharf get controllers")
    };
    follow(core, done, is_settled, doubt).await
}

/// Waits until the group has followed a change of the table, as far as this controller knows: one that has handed over
/// goes on to wait for what its successor does.
async fn follow(
    core: &Core,
    done: WriteResponse,
    has_followed: impl Fn(&State, &RaftStatus) -> bool,
    doubt: impl Fn() -> String,
) -> Result<WriteResponse, Status> {
    let mut status = core.raft.status();
    let followed = status.wait_for(|status| has_followed(&core.published.state(), status));
    match tokio::time::timeout(PATIENCE, followed).await {
        Ok(Ok(_)) => Ok(done),
        // It stops, perhaps because it is the one that was removed.
        Ok(Err(_)) => Ok(done),
        Err(_) => Err(Status::deadline_exceeded(doubt())),
    }
}

pub(super) async fn transfer(
    core: &Core,
    request: TransferLeadershipRequest,
) -> Result<WriteResponse, Status> {
    request_id(&request.request_id)?;
    let id = find(&core.published.state(), &request.controller)?.id;
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
