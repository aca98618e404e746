//! What every part of a running controller shares.

use crate::{
    leader::dispatch::Dispatcher,
    leadership::Leadership,
    propose::{Proposer, Raft},
    raft::ReadError,
    replica::{Published, View},
    settings::Timings,
    succession::Succession,
    transport::Peers,
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use wharf_cluster::{ids::ControllerId, level::Level};

/// How long a request waits for a leader before it is told that there is none: longer than an election takes.
pub const LEADER_PATIENCE: Duration = Duration::from_secs(6);
/// What a request waits before it tries again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// What every part of a running controller shares.
pub struct Core {
    /// This controller.
    pub id: ControllerId,
    /// Where it is reached, `host:port`.
    pub advertise: String,
    /// The most that it knows, or is to.
    pub level: Level,
    /// The replica.
    pub raft: Raft,
    /// Proposes to the replica.
    pub proposer: Proposer,
    /// The replica's state.
    pub published: Arc<Published>,
    /// Who leads.
    pub leadership: watch::Receiver<Leadership>,
    /// The other controllers.
    pub peers: Arc<Peers>,
    /// The agents' sessions, while this controller leads.
    pub dispatcher: Arc<Dispatcher>,
    /// Times that can be set.
    pub timings: Timings,
    /// This controller is stopping: what would go on for ever ends.
    pub stopping: CancellationToken,
    /// Whether this cluster gives way to one from a backup.
    pub succession: Succession,
}

impl Core {
    /// Whether this controller leads.
    #[must_use]
    pub fn leading(&self) -> bool {
        self.leadership.borrow().leading
    }

    /// A state that holds everything that was acknowledged before this call, wherever it was written.
    ///
    /// # Errors
    /// When no leader with a quorum confirms it in time.
    pub async fn read(&self) -> Result<View, Status> {
        let deadline = Instant::now() + LEADER_PATIENCE;
        loop {
            match self.raft.read_index().await {
                Ok(_) => {
                    let view = self.published.view();
                    // A leader is there a moment before its first commands have made the cluster.
                    if view.state.controllers().next().is_some() {
                        return Ok(view);
                    }
                    if Instant::now() + RETRY_PAUSE >= deadline {
                        return Err(Status::unavailable("the cluster is still being made; try again"));
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(ReadError::NoQuorum { .. }) if Instant::now() + RETRY_PAUSE < deadline => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(error) => {
                    let advice = "; `--stale` shows what this controller has";
                    return Err(Status::unavailable(format!("{error}{advice}")));
                }
            }
        }
    }
}
