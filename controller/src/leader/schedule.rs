//! The scheduler's loop: waits until there may be something to place, and proposes what it decides.

use super::{Ended, decide::Scheduling, offload};
use crate::{
    core::Core,
    raft::ProposeError,
    replica::{Change, Changes},
};
use std::{sync::Arc, time::Duration};

/// Tasks that are asked for within this time are placed by one decision.
const DEBOUNCE: Duration = Duration::from_millis(1);
/// What is waited after a failure of the scheduler itself.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run(core: Arc<Core>) -> Ended {
    let mut changes = core.published.subscribe();
    let mut scheduling = Scheduling::default();
    loop {
        wait(&core, &mut changes, &mut scheduling).await?;
        let state = core.published.state();
        let snapshot = state.clone();
        let decide = move || {
            let commands = scheduling.decide(&snapshot);
            (scheduling, commands)
        };
        match offload::decide(&state, decide).await {
            Some((decided, commands)) => {
                scheduling = decided;
                core.proposer.insist_all(commands).await?;
            }
            None => {
                tracing::error!("the scheduler failed; it will try again");
                tokio::time::sleep(FAILURE_PAUSE).await;
                scheduling = Scheduling::default();
            }
        }
    }
}

/// Waits until there may be something to place.
async fn wait(core: &Core, changes: &mut Changes, scheduling: &mut Scheduling) -> Result<(), ProposeError> {
    loop {
        while let Some(change) = changes.try_next() {
            observe(core, scheduling, &change);
        }
        if scheduling.is_due() {
            // A node that changed is a reason to look, too; mostly nothing waits for one.
            if core.published.state().unplaced_groups().next().is_some() {
                tokio::time::sleep(DEBOUNCE).await;
                while let Some(change) = changes.try_next() {
                    observe(core, scheduling, &change);
                }
            }
            return Ok(());
        }
        observe(core, scheduling, &changes.next().await.ok_or(ProposeError::Stopped)?);
    }
}

fn observe(core: &Core, scheduling: &mut Scheduling, change: &Change) {
    match change {
        Change::Everything => scheduling.observe_everything(),
        Change::Batch(batch) => {
            let state = core.published.state();
            batch.events.iter().for_each(|event| scheduling.observe(&state, event));
        }
    }
}
