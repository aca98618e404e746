//! The scheduler's loop: places what wants a node, in batches, whenever that or the room for it has changed.

use super::{Ended, observe};
use crate::{core::Core, raft::ProposeError, replica::Changes};
use std::{sync::Arc, time::Duration};
use wharf_cluster::{orchestrator::Agenda, scheduler::schedule};

/// Tasks that are asked for within this time are placed by one decision.
const DEBOUNCE: Duration = Duration::from_millis(1);
/// What is waited after a failure of the scheduler itself.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run(core: Arc<Core>) -> Ended {
    let mut changes = core.published.subscribe();
    let mut agenda = Agenda::everything();
    loop {
        wait(&core, &mut changes, &mut agenda).await?;
        let state = core.published.state();
        match tokio::task::spawn_blocking(move || schedule(&state)).await {
            Ok(decisions) => {
                // A placement that was refused when it was applied is decided again; so is what exceeded the batch.
                let again = decisions.more || !decisions.placed.is_empty();
                core.proposer.insist_all(decisions.commands()).await?;
                if again {
                    agenda = Agenda::everything();
                }
            }
            Err(error) => {
                tracing::error!(%error, "the scheduler failed; it will try again");
                tokio::time::sleep(FAILURE_PAUSE).await;
                agenda = Agenda::everything();
            }
        }
    }
}

/// Waits until there may be something to place.
async fn wait(core: &Core, changes: &mut Changes, agenda: &mut Agenda) -> Result<(), ProposeError> {
    loop {
        while let Some(change) = changes.try_next() {
            observe(core, agenda, &change);
        }
        if agenda.take_placement() {
            tokio::time::sleep(DEBOUNCE).await;
            while let Some(change) = changes.try_next() {
                observe(core, agenda, &change);
            }
            // What came in between is decided now; the rest of the agenda is the orchestrators'.
            *agenda = Agenda::default();
            return Ok(());
        }
        observe(core, agenda, &changes.next().await.ok_or(ProposeError::Stopped)?);
    }
}
