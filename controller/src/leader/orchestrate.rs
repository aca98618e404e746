//! The orchestrators' loop: looks at the services that something happened to, and at those whose time has come.

use super::{Ended, observe};
use crate::{clock, core::Core, raft::ProposeError, replica::Changes};
use std::{sync::Arc, time::Duration};
use wharf_cluster::{
    ids::Timestamp,
    orchestrator::{Agenda, Limits, reconcile},
};

/// Longest sleep between two looks at the clock, which may be set.
const LONGEST_NAP: Duration = Duration::from_secs(60);
/// What is waited after a failure of the orchestrator itself.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run(core: Arc<Core>) -> Ended {
    let limits = Limits::default();
    let mut changes = core.published.subscribe();
    let mut agenda = Agenda::everything();
    loop {
        let now = wait(&core, &mut changes, &mut agenda).await?;
        let state = core.published.state();
        let scope = agenda.take(&state, now);
        match tokio::task::spawn_blocking(move || reconcile(&state, &scope, now, &limits)).await {
            Ok(plan) => {
                agenda.absorb(&plan);
                core.proposer.insist_all(plan.commands).await?;
            }
            Err(error) => {
                tracing::error!(%error, "the orchestrator failed; it will look at everything again");
                tokio::time::sleep(FAILURE_PAUSE).await;
                agenda = Agenda::everything();
            }
        }
    }
}

/// Waits until something is due.
async fn wait(core: &Core, changes: &mut Changes, agenda: &mut Agenda) -> Result<Timestamp, ProposeError> {
    loop {
        while let Some(change) = changes.try_next() {
            observe(core, agenda, &change);
        }
        let now = clock::now();
        if agenda.is_due(now) {
            return Ok(now);
        }
        let nap = agenda.next_wake().map_or(LONGEST_NAP, |wake| Duration::from_millis(wake.since(now)));
        tokio::select! {
            change = changes.next() => observe(core, agenda, &change.ok_or(ProposeError::Stopped)?),
            () = tokio::time::sleep(nap.min(LONGEST_NAP)) => {}
        }
    }
}
