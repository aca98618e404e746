//! The orchestrators' loop: waits until something is due, and proposes what they decide.

use super::{Ended, decide::Orchestrating, offload};
use crate::{
    core::Core,
    raft::ProposeError,
    replica::{Change, Changes},
};
use std::{sync::Arc, time::Duration};
use wharf_cluster::ids::Timestamp;

/// Longest sleep between two looks at the clock, which may be set.
const LONGEST_NAP: Duration = Duration::from_secs(60);
/// What is waited after a failure of the orchestrator itself.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run(core: Arc<Core>) -> Ended {
    let mut changes = core.published.subscribe();
    let mut orchestrating = Orchestrating::default();
    loop {
        let now = wait(&core, &mut changes, &mut orchestrating).await?;
        let state = core.published.state();
        let snapshot = state.clone();
        let decide = move || {
            let commands = orchestrating.decide(&snapshot, now);
            (orchestrating, commands)
        };
        match offload::decide(&state, decide).await {
            Some((decided, commands)) => {
                orchestrating = decided;
                core.proposer.insist_all(commands).await?;
            }
            None => {
                tracing::error!("the orchestrator failed; it will look at everything again");
                tokio::time::sleep(FAILURE_PAUSE).await;
                orchestrating = Orchestrating::default();
            }
        }
    }
}

/// Waits until something is due.
async fn wait(
    core: &Core,
    changes: &mut Changes,
    orchestrating: &mut Orchestrating,
) -> Result<Timestamp, ProposeError> {
    loop {
        while let Some(change) = changes.try_next() {
            observe(core, orchestrating, &change);
        }
        let now = core.proposer.now();
        if orchestrating.is_due(now) {
            return Ok(now);
        }
        let wake = orchestrating.next_wake();
        let nap = wake.map_or(LONGEST_NAP, |wake| Duration::from_millis(wake.since(now)));
        tokio::select! {
            change = changes.next() => observe(core, orchestrating, &change.ok_or(ProposeError::Stopped)?),
            () = tokio::time::sleep(nap.min(LONGEST_NAP)) => {}
        }
    }
}

fn observe(core: &Core, orchestrating: &mut Orchestrating, change: &Change) {
    match change {
        Change::Everything => orchestrating.observe_everything(),
        Change::Batch(batch) => {
            let state = core.published.state();
            batch.events.iter().for_each(|event| orchestrating.observe(&state, event));
        }
    }
}
