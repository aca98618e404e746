//! From a command to what came of it: the way of every write through Raft's log.

use crate::{
    clock,
    leader::decide::LeaderClock,
    raft::{ProposeError, RaftHandle},
    replica::Published,
};
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use thiserror::Error;
use tonic::Status;
use wharf_cluster::{
    command::{Command, Envelope},
    ids::{RequestId, Timestamp},
    level::Level,
    state::{Outcome, Rejected, Reply},
};
use wharf_proto::codec::encode_command;

/// The replica's handle.
pub type Raft = RaftHandle<Outcome>;

/// What a leader's loop waits before it proposes again when too much is under way.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(50);

/// A command that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Its place in the log.
    pub index: u64,
    /// What it answers.
    pub reply: Reply,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WriteError {
    /// Raft could not, or can't say.
    #[error(transparent)]
    Raft(#[from] ProposeError),
    /// The state machine refuses it.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// Not every controller knows it.
    #[error(
        "this needs level {needed}, and the cluster is at level {cluster}: it waits until every controller is upgraded; \
         see wharf get controllers"
    )]
    Level {
        /// The level of the command.
        needed: Level,
        /// The level of the cluster.
        cluster: Level,
    },
}

impl From<WriteError> for Status {
    fn from(error: WriteError) -> Self {
        let message = error.to_string();
        match error {
            WriteError::Rejected(Rejected::NotFound(_)) => Status::not_found(message),
            WriteError::Rejected(Rejected::Conflict(_)) => Status::aborted(message),
            WriteError::Rejected(Rejected::Invalid(_)) => Status::invalid_argument(message),
            WriteError::Rejected(Rejected::Precondition(_)) | WriteError::Level { .. } => {
                Status::failed_precondition(message)
            }
            WriteError::Raft(ProposeError::Overloaded | ProposeError::NoSpace { .. }) => {
                Status::resource_exhausted(message)
            }
            WriteError::Raft(ProposeError::TooLarge { .. } | ProposeError::Empty) => {
                Status::invalid_argument(message)
            }
            WriteError::Raft(
                ProposeError::NotLeader { .. }
                | ProposeError::Superseded
                | ProposeError::Unknown
                | ProposeError::Stopped,
            ) => Status::unavailable(message),
        }
    }
}

/// Proposes commands.
#[derive(Clone)]
pub struct Proposer {
    raft: Raft,
    published: Arc<Published>,
    began: Instant,
    clock: Arc<Mutex<LeaderClock>>,
}

impl Proposer {
    /// A proposer to this replica.
    #[must_use]
    pub fn new(raft: Raft, published: Arc<Published>) -> Self {
        Proposer { raft, published, began: Instant::now(), clock: Arc::default() }
    }

    /// A leadership begins: its time goes on from the state's.
    pub fn leads(&self) {
        let state = self.published.state().now();
        *self.clock.lock() = LeaderClock::new(state, self.began.elapsed());
    }

    /// The time that commands are stamped with.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let clock = *self.clock.lock();
        clock.now(clock::now(), self.began.elapsed())
    }

    /// Proposes a command and waits until it is applied here. A request that was seen before gets its first answer.
    ///
    /// # Errors
    /// When the command is refused, or the log can't take it.
    pub async fn propose(&self, request: Option<RequestId>, command: Command) -> Result<Done, WriteError> {
        // The level only rises: what is open now stays so.
        let cluster = self.published.state().level();
        if !command.is_open_to(cluster) {
            return Err(WriteError::Level { needed: command.level(), cluster });
        }
        let envelope = Envelope { at: self.now(), request, command };
        let applied = self.raft.propose(encode_command(&envelope)).await?;
        Ok(Done { index: applied.index, reply: applied.output? })
    }

    /// Proposes a command of a leader's loop; patient while too much is under way or the disk is nearly full.
    ///
    /// # Errors
    /// When the leader is one no longer, or the command is refused.
    pub async fn insist(&self, command: Command) -> Result<Done, WriteError> {
        loop {
            match self.propose(None, command.clone()).await {
                Err(WriteError::Raft(ProposeError::Overloaded | ProposeError::NoSpace { .. })) => {
                    tokio::time::sleep(OVERLOAD_PAUSE).await;
                }
                done => return done,
            }
        }
    }

    /// Proposes a loop's commands in this order, without waiting in between, and waits for all of them.
    ///
    /// # Errors
    /// The first error; the others have been proposed all the same.
    pub async fn insist_all(&self, commands: Vec<Command>) -> Result<(), WriteError> {
        let proposals = commands.into_iter().map(|command| self.insist(command));
        for done in futures::future::join_all(proposals).await {
            match done {
                // The state has moved on since the loop decided; it decides anew on what is there now.
                Err(WriteError::Rejected(reason)) => {
                    tracing::debug!(%reason, "a leader's command was refused");
                }
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

/// A client's request id.
///
/// # Errors
/// When it is not 16 bytes long.
pub fn request_id(bytes: &[u8]) -> Result<RequestId, Status> {
    let bytes: [u8; 16] = bytes.try_into().map_err(|_| {
        Status::invalid_argument("request_id: must be 16 random bytes, the same for every retry of a request")
    })?;
    Ok(RequestId(u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[test]
    fn what_is_too_much_is_told_as_such() {
        for error in [ProposeError::Overloaded, ProposeError::NoSpace { free: 3 << 20 }] {
            let status = Status::from(WriteError::Raft(error));
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            assert!(status.message().contains("again"), "it says what to do: {status}");
        }
    }
}
