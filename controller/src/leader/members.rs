//! Keeps Raft's group what the table of controllers says: who is in the table and no member becomes a learner, learners
//! that have caught up and are to vote become voters, voters that are not to vote become learners, members that are not
//! in the table are removed. The table changes first, so that whatever a crash interrupts is finished by the next leader.
//!
//! It also raises the cluster's level, when every member has said that it knows more.

use super::Ended;
use crate::{
    core::Core,
    membership::{Step, common_level, is_settled, next_step},
    raft::{ChangeError, ProposeError},
    replica::Change,
};
use std::{sync::Arc, time::Duration};
use wharf_cluster::{command::Command, event::Event, ids::ControllerId, level::Level};

/// Time between two looks at what can't be done yet, or two attempts at a change.
const PACE: Duration = Duration::from_millis(100);

pub(super) async fn run(core: Arc<Core>) -> Ended {
    let mut changes = core.published.subscribe();
    let mut status = core.raft.status();
    loop {
        record_addresses(&core).await?;
        raise_level(&core).await?;
        let (step, waits) = {
            let status = status.borrow_and_update();
            let state = core.published.state();
            let unsettled = !status.learners.is_empty() || !is_settled(&state, &status);
            (next_step(&state, &status), unsettled || state.level() < core.level)
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

async fn carry_out(core: &Core, step: Step) -> Ended {
    let done = match &step {
        Step::Add(controller) => {
            core.raft.add_learner(controller.id.0, controller.address.clone().into()).await
        }
        Step::Promote(id) => core.raft.promote(id.0).await,
        Step::Demote(id) => core.raft.demote(id.0).await,
        Step::Remove(id) => core.raft.remove(id.0).await,
    };
    match (done, &step) {
        (Ok(_), Step::Add(controller)) => {
            tracing::info!(controller = %controller.id, name = controller.name, address = controller.address, "a controller joins: it learns the log");
        }
        (Ok(_), Step::Promote(id)) => {
            tracing::info!(controller = %id, "a controller has caught up: it votes now");
        }
        (Ok(_), Step::Demote(id)) => tracing::info!(controller = %id, "a controller votes no longer"),
        (Ok(_), Step::Remove(id)) => tracing::info!(controller = %id, "a controller was removed"),
        (Err(ChangeError::Propose(error)), _) if !matches!(error, ProposeError::Overloaded) => {
            return Err(error.into());
        }
        (Err(error), _) => tracing::debug!(?step, %error, "the group can't be changed yet"),
    }
    Ok(())
}

/// Lets the cluster use what all of its controllers know.
async fn raise_level(core: &Core) -> Ended {
    let state = core.published.state();
    let common = {
        let status = core.raft.status();
        let status = status.borrow();
        common_level(&state, &status, core.level, &core.peers.told())
    };
    let Some(to) = common.filter(|common| *common > state.level()) else { return Ok(()) };
    core.proposer.insist(Command::RaiseLevel { to }).await?;
    let from: Level = state.level();
    tracing::info!(%from, %to, "every controller knows more: the cluster's level is raised");
    Ok(())
}

/// Records where controllers say they are, if the table says otherwise.
async fn record_addresses(core: &Core) -> Ended {
    let state = core.published.state();
    let mut told: Vec<(ControllerId, String)> =
        core.peers.addresses().into_iter().map(|(id, address)| (ControllerId(id), address)).collect();
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
