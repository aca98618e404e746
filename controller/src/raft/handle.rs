//! The async face of a replica.

use std::sync::Arc;

use ::raft::eraftpb::Message;
use tokio::sync::{mpsc, oneshot, watch};

use super::budget::{Budget, Share};
use super::message::{self, MessageError};
use super::node::MembershipRequest;
use super::reply::{Applied, ChangeError, Members, ProposeError, ReadError, Reply, TransferError};
use super::snapshot_chunks::{ArrivedSnapshot, ChunkError};
use super::status::RaftStatus;

/// A command with the place for its answer.
pub(super) struct Proposal<T> {
    pub(super) command: Vec<u8>,
    /// Its part of what may wait in the queue.
    pub(super) share: Share,
    pub(super) reply: Reply<Result<Applied<T>, ProposeError>>,
}

/// What a handle asks of the replica's thread.
pub(super) enum Request<T> {
    Propose(Proposal<T>),
    Read(Reply<Result<u64, ReadError>>),
    Change(MembershipRequest, Reply<Result<Members, ChangeError>>),
    Transfer(u64, Reply<Result<(), TransferError>>),
    Shutdown,
}

/// What comes from other replicas.
pub(super) enum PeerInput {
    Message(Message),
    Snapshot(ArrivedSnapshot),
    Unreachable(u64),
}

/// Takes the chunks of snapshots, unless the replica has stopped; hides the store's type.
pub(super) type ChunkSink =
    dyn Fn(u64, &[u8]) -> Option<Result<Option<ArrivedSnapshot>, ChunkError>> + Send + Sync;

/// Why something from a peer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// A message is unacceptable.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A snapshot chunk is unacceptable.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The replica has stopped.
    #[error("this controller is stopping")]
    Stopped,
}

/// Talks to a replica's thread. Cheap to clone; the replica stops with [`RaftHandle::shutdown`] or
/// when the last handle is gone.
pub struct RaftHandle<T> {
    pub(super) requests: mpsc::Sender<Request<T>>,
    pub(super) peers: mpsc::Sender<PeerInput>,
    pub(super) status: watch::Receiver<RaftStatus>,
    pub(super) chunks: Arc<ChunkSink>,
    pub(super) max_command_bytes: usize,
    pub(super) queued: Budget,
}

impl<T> Clone for RaftHandle<T> {
    fn clone(&self) -> Self {
        Self {
            requests: self.requests.clone(),
            peers: self.peers.clone(),
            status: self.status.clone(),
            chunks: self.chunks.clone(),
            max_command_bytes: self.max_command_bytes,
            queued: self.queued.clone(),
        }
    }
}

impl<T: Send + 'static> RaftHandle<T> {
    /// Proposes a command and waits until it is applied here.
    ///
    /// # Errors
    /// See [`ProposeError`]: [`ProposeError::did_not_happen`] tells whether it may still happen.
    pub async fn propose(&self, command: Vec<u8>) -> Result<Applied<T>, ProposeError> {
        if command.is_empty() {
            return Err(ProposeError::Empty);
        }
        let (size, limit) = (command.len(), self.max_command_bytes);
        if size > limit {
            return Err(ProposeError::TooLarge { size, limit });
        }
        let share = self.queued.take(size).ok_or(ProposeError::Overloaded)?;
        let (reply, answer) = reply();
        match self.requests.try_send(Request::Propose(Proposal { command, share, reply })) {
            Ok(()) => answer.await.unwrap_or(Err(ProposeError::Stopped)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(ProposeError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(ProposeError::Stopped),
        }
    }

    /// Waits until everything that was committed before the call is applied here, on any replica, and
    /// returns the index read up to. A read of the state machine after it is linearizable.
    ///
    /// # Errors
    /// When no leader with a quorum answers in time, or the replica is overloaded or stopping.
    pub async fn read_index(&self) -> Result<u64, ReadError> {
        let (reply, answer) = reply();
        match self.requests.try_send(Request::Read(reply)) {
            Ok(()) => answer.await.unwrap_or(Err(ReadError::Stopped)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(ReadError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(ReadError::Stopped),
        }
    }

    /// Takes a message from the peer `from`, whose identity the transport has proved. Waits while the
    /// replica is busy, which slows the sender down.
    ///
    /// # Errors
    /// When the message is unacceptable or the replica has stopped.
    pub async fn step(&self, from: u64, bytes: &[u8]) -> Result<(), PeerError> {
        let message = message::decode(bytes)?;
        if message.from != from {
            return Err(MessageError::Inconsistent("its sender is not the one who sent it").into());
        }
        self.peers.send(PeerInput::Message(message)).await.map_err(|_| PeerError::Stopped)
    }

    /// Takes the next chunk of a snapshot from the peer `from`. Returns when it is stored, so that
    /// the sender can go on.
    ///
    /// # Errors
    /// When the chunk is unacceptable; the sender has to drop the transfer.
    pub async fn receive_snapshot_chunk(&self, from: u64, chunk: bytes::Bytes) -> Result<(), PeerError> {
        let chunks = self.chunks.clone();
        let arrived = tokio::task::spawn_blocking(move || chunks(from, &chunk))
            .await
            .ok()
            .flatten()
            .ok_or(PeerError::Stopped)??;
        match arrived {
            Some(snapshot) => {
                self.peers.send(PeerInput::Snapshot(snapshot)).await.map_err(|_| PeerError::Stopped)
            }
            None => Ok(()),
        }
    }

    /// Tells the replica that messages to a peer were lost.
    pub async fn report_unreachable(&self, peer: u64) {
        // A replica that has stopped doesn't care.
        let _ = self.peers.send(PeerInput::Unreachable(peer)).await;
    }

    /// The replica's state, kept up to date. Who waits for a change is woken at once, but for progress alone (of the
    /// log, of the other members) only at the next tick: it happens with every entry.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<RaftStatus> {
        self.status.clone()
    }

    /// Adds a member that receives the log but doesn't vote; `context` reaches every state machine.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn add_learner(&self, id: u64, context: Vec<u8>) -> Result<Members, ChangeError> {
        self.change(MembershipRequest::AddLearner { id, context }).await
    }

    /// Makes a learner a voter.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn promote(&self, id: u64) -> Result<Members, ChangeError> {
        self.change(MembershipRequest::Promote { id }).await
    }

    /// Makes a voter a learner.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn demote(&self, id: u64) -> Result<Members, ChangeError> {
        self.change(MembershipRequest::Demote { id }).await
    }

    /// Removes a member for good. A leader asked to remove or demote itself hands its leadership over
    /// instead and answers [`ProposeError::NotLeader`]; the new leader can then do it.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn remove(&self, id: u64) -> Result<Members, ChangeError> {
        self.change(MembershipRequest::Remove { id }).await
    }

    async fn change(&self, request: MembershipRequest) -> Result<Members, ChangeError> {
        let (reply, answer) = reply();
        if self.requests.send(Request::Change(request, reply)).await.is_err() {
            return Err(ProposeError::Stopped.into());
        }
        answer.await.unwrap_or(Err(ChangeError::Propose(ProposeError::Stopped)))
    }

    /// Hands leadership to a voter and waits until it leads.
    ///
    /// # Errors
    /// See [`TransferError`].
    pub async fn transfer_leader(&self, id: u64) -> Result<(), TransferError> {
        let (reply, answer) = reply();
        if self.requests.send(Request::Transfer(id, reply)).await.is_err() {
            return Err(TransferError::Stopped);
        }
        answer.await.unwrap_or(Err(TransferError::Stopped))
    }

    /// Asks the replica to stop; returns when it takes no more requests. What it has under way on
    /// disk is done once [`RaftThread::join`](super::RaftThread::join) returns.
    pub async fn shutdown(&self) {
        // An error means that it has stopped already.
        let _ = self.requests.send(Request::Shutdown).await;
        self.requests.closed().await;
    }
}

fn reply<T: Send + 'static>() -> (Reply<T>, oneshot::Receiver<T>) {
    let (sender, receiver) = oneshot::channel();
    // A caller that has gone away needs no answer.
    (Box::new(move |answer| drop(sender.send(answer))), receiver)
}
