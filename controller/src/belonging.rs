//! Whether this controller still belongs to the cluster. One that was removed while it was off, or cut off, gets no word
//! of it: the others have forgotten it, and to itself it looks as if they were down. One that votes learns of it when it
//! stands for election, since its messages are refused; a learner sends nothing by itself, so it greets the others.

use crate::core::Core;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tonic::Status;
use wharf_cluster::ids::ControllerId;

/// How long no leader is known before the others are greeted: longer than an election takes.
const SILENCE: Duration = Duration::from_secs(3);
/// How often they are greeted though a leader seems to be known: a learner never notices that it is gone.
const ROUTINE: Duration = Duration::from_secs(20);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Greets the others now and then, for ever. [`Peers::expelled`](crate::transport::Peers::expelled) tells what comes of
/// it.
pub async fn run(core: Arc<Core>) {
    loop {
        wait_for_doubt(&core).await;
        for id in others(&core) {
            match timeout(PATIENCE, core.peers.greet(id)).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => say(id, &error),
                Err(_) => {}
            }
        }
    }
}

fn say(id: u64, error: &Status) {
    tracing::debug!(controller = %ControllerId(id), reason = error.message(), "a controller doesn't greet back");
}

async fn wait_for_doubt(core: &Core) {
    let mut leadership = core.leadership.clone();
    let leaderless = async {
        loop {
            // A leadership that can't change any more is a replica's that has stopped.
            if leadership.wait_for(|now| now.leader.is_none()).await.is_err() {
                return std::future::pending().await;
            }
            let found = leadership.wait_for(|now| now.leader.is_some());
            if timeout(SILENCE, found).await.is_err() {
                return;
            }
        }
    };
    let _ = timeout(ROUTINE, leaderless).await;
}

/// Whom to greet, the leader first. A leader needs nobody's word.
fn others(core: &Core) -> Vec<u64> {
    let leadership = *core.leadership.borrow();
    if leadership.leading {
        return Vec::new();
    }
    let state = core.published.state();
    let table = state.controllers().map(|known| known.id.0);
    let told = core.peers.told();
    let mut others: Vec<u64> = table.chain(told.keys().copied()).filter(|id| *id != core.id.0).collect();
    others.sort_unstable_by_key(|id| (leadership.leader != Some(*id), *id));
    others.dedup();
    others
}
