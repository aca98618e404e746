//! What a controller does while it leads: loops that look at the applied state, [`decide`] and propose. Each waits until
//! its last command is applied before it decides again.

pub mod decide;
pub mod dispatch;
mod members;
mod offload;
mod orchestrate;
mod schedule;

use crate::{core::Core, propose::WriteError};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What is waited before loops that ended by themselves are started again.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// Leads whenever this controller is the leader, until `stop`.
pub async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut leadership = core.leadership.clone();
    loop {
        let led = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            led = leadership.wait_for(|now| now.leading) => led.map(|now| *now),
        };
        // An error means that the replica has stopped.
        let Ok(led) = led else { return };
        tracing::info!(term = led.term, "this controller leads");
        core.proposer.leads();
        let mut loops = JoinSet::new();
        let term = core.dispatcher.begin(&core, led.term, &mut loops);
        loops.spawn(members::run(core.clone()));
        loops.spawn(orchestrate::run(core.clone()));
        loops.spawn(schedule::run(core.clone()));
        let ended = tokio::select! {
            _ = leadership.wait_for(|now| !now.leading || now.term != led.term) => false,
            () = stop.cancelled() => false,
            ended = loops.join_next() => {
                if let Some(Ok(Err(error))) = ended {
                    tracing::debug!(%error, "a leader's loop ended");
                }
                true
            }
        };
        core.dispatcher.end(&term);
        loops.shutdown().await;
        if ended {
            // As a rule the loop has noticed before the watch that this controller leads no more.
            let deposed = leadership.wait_for(|now| !now.leading || now.term != led.term);
            let _ = tokio::time::timeout(RESTART_PAUSE, deposed).await;
        }
        if !leadership.borrow().leading {
            tracing::info!(term = led.term, "this controller leads no longer");
        }
    }
}

/// What ends a loop: the leader is one no longer, or its replica has stopped.
type Ended = Result<(), WriteError>;
