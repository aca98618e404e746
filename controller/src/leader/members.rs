//! Keeps Raft's group what the table of controllers says: who is in the table and not a member becomes a learner,
//! learners that have caught up become voters, members that are not in the table are removed. The table changes first,
//! so that whatever a crash interrupts is finished by the next leader.

use super::Ended;
use crate::{
    core::Core,
    raft::{ChangeError, PeerState, ProposeError, RaftStatus, Role},
    replica::Change,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use wharf_cluster::{command::Command, event::Event, ids::ControllerId, model::Controller, state::State};

/// A learner that lags by no more than this may vote.
const CAUGHT_UP: u64 = 256;
/// Time between two looks at a learner that catches up, or two attempts at a change.
const PACE: Duration = Duration::from_millis(100);

/// A change of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A controller becomes a member that learns the log.
    Add(Controller),
    /// A learner votes from now on.
    Promote(ControllerId),
    /// A member leaves.
    Remove(ControllerId),
}

pub(super) async fn run(core: Arc<Core>) -> Ended {
    let mut changes = core.published.subscribe();
    let mut status = core.raft.status();
    loop {
        record_addresses(&core).await?;
        let (step, waits) = {
            let status = status.borrow_and_update();
            let state = core.published.state();
            (next_step(&state, &status), has_learner(&status))
        };
        if let Some(step) = step {
            carry_out(&core, step).await?;
            tokio::time::sleep(PACE).await;
            continue;
        }
        loop {
            tokio::select! {
                change = changes.next() => {
                    if is_about_controllers(&change.ok_or(ProposeError::Stopped)?) {
                        break;
                    }
                }
                () = core.peers.news() => break,
                changed = status.changed(), if waits => {
                    changed.map_err(|_| ProposeError::Stopped)?;
                    tokio::time::sleep(PACE).await;
                    break;
                }
            }
        }
    }
}

fn is_about_controllers(change: &Change) -> bool {
    match change {
        Change::Everything => true,
        Change::Batch(batch) => batch
            .events
            .iter()
            .any(|event| matches!(event, Event::ControllerRecorded { .. } | Event::ControllerRemoved { .. })),
    }
}

fn has_learner(status: &RaftStatus) -> bool {
    !status.learners.is_empty()
}

/// What brings the group nearer to the table.
#[must_use]
pub fn next_step(state: &State, status: &RaftStatus) -> Option<Step> {
    // One change at a time; a joint one is finished by Raft.
    if status.role != Role::Leader || !status.voters_outgoing.is_empty() {
        return None;
    }
    let table: BTreeMap<u64, &Controller> =
        state.controllers().map(|controller| (controller.id.0, controller)).collect();
    // A cluster that is only being made has no table.
    if table.is_empty() {
        return None;
    }
    let members = || status.voters.iter().chain(&status.learners);
    let gone = members().find(|id| !table.contains_key(id)).map(|id| Step::Remove(ControllerId(*id)));
    let ready = || {
        status
            .learners
            .iter()
            .find(|id| is_caught_up(status, **id))
            .map(|id| Step::Promote(ControllerId(*id)))
    };
    let missing = || {
        let mut known = table.iter();
        known
            .find(|(id, _)| !members().any(|member| member == *id))
            .map(|(_, controller)| Step::Add((*controller).clone()))
    };
    gone.or_else(ready).or_else(missing)
}

/// Whether a member holds nearly everything that this leader has.
#[must_use]
pub fn is_caught_up(status: &RaftStatus, id: u64) -> bool {
    status.peers.get(&id).is_some_and(|peer| {
        peer.active && peer.state == PeerState::Replicate && peer.matched + CAUGHT_UP >= status.last_index
    })
}

async fn carry_out(core: &Core, step: Step) -> Ended {
    let done = match &step {
        Step::Add(controller) => {
            core.raft.add_learner(controller.id.0, controller.address.clone().into()).await
        }
        Step::Promote(id) => core.raft.promote(id.0).await,
        Step::Remove(id) => core.raft.remove(id.0).await,
    };
    match (done, &step) {
        (Ok(_), Step::Add(controller)) => {
            tracing::info!(controller = %controller.id, name = controller.name, address = controller.address, "a controller joins: it learns the log");
        }
        (Ok(_), Step::Promote(id)) => {
            tracing::info!(controller = %id, "a controller has caught up: it votes now");
        }
        (Ok(_), Step::Remove(id)) => tracing::info!(controller = %id, "a controller was removed"),
        (Err(ChangeError::Propose(error)), _) if !matches!(error, ProposeError::Overloaded) => {
            return Err(error.into());
        }
        (Err(error), _) => tracing::debug!(?step, %error, "the group can't be changed yet"),
    }
    Ok(())
}

/// Records where controllers say they are, if the table says otherwise.
async fn record_addresses(core: &Core) -> Ended {
    let state = core.published.state();
    let mut told: Vec<(ControllerId, String)> =
        core.peers.told().into_iter().map(|(id, told)| (ControllerId(id), told.address)).collect();
    told.push((core.id, core.advertise.clone()));
    for (controller, address) in told {
        let Some(known) = state.controller(controller).filter(|known| known.address != address) else {
            continue;
        };
        tracing::info!(%controller, from = known.address, to = address, "a controller has another address");
        let name = known.name.clone();
        core.proposer.insist(Command::SetControllerAddress { controller, name, address }).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::PeerProgress;
    use wharf_cluster::{command::Envelope, ids::Timestamp};

    fn state(ids: &[u64]) -> State {
        let mut state = State::default();
        for id in ids {
            let command = Command::SetControllerAddress {
                controller: ControllerId(*id),
                name: format!("c{id}"),
                address: format!("c{id}:7400"),
            };
            state.execute(&Envelope { at: Timestamp(1), request: None, command }).0.unwrap();
        }
        state
    }

    fn status(voters: &[u64], learners: &[u64], matched: u64) -> RaftStatus {
        let progress = PeerProgress { matched, state: PeerState::Replicate, active: true };
        RaftStatus {
            role: Role::Leader,
            last_index: 1000,
            voters: voters.to_vec(),
            learners: learners.to_vec(),
            peers: learners.iter().map(|id| (*id, progress)).collect(),
            ..RaftStatus::default()
        }
    }

    #[test]
    fn the_group_follows_the_table() {
        assert_eq!(next_step(&state(&[1, 2]), &status(&[1, 2], &[], 0)), None);
        assert!(
            matches!(next_step(&state(&[1, 2]), &status(&[1], &[], 0)), Some(Step::Add(c)) if c.id.0 == 2)
        );
        assert_eq!(next_step(&state(&[1, 2]), &status(&[1], &[2], 10)), None);
        assert_eq!(
            next_step(&state(&[1, 2]), &status(&[1], &[2], 990)),
            Some(Step::Promote(ControllerId(2)))
        );
        assert_eq!(next_step(&state(&[1]), &status(&[1, 2], &[], 0)), Some(Step::Remove(ControllerId(2))));
        assert_eq!(next_step(&State::default(), &status(&[1], &[], 0)), None);
    }
}
