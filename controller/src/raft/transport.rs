//! What a replica needs of the network.

use bytes::Bytes;

use super::snapshot_chunks::OutgoingSnapshot;

/// Messages could not be queued for a peer: it is unknown, unreachable, or its queue is full. They
/// are lost, which raft copes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer is unreachable or its queue is full")]
pub struct Unreachable;

/// Sends to the other replicas. Called from the replica's own thread, so nothing here may block. What
/// is spawned with `tokio::spawn` runs on that thread too, between the replica's steps: good for a
/// stream of messages, which then wakes no other thread; anything that takes long has to be spawned
/// through a [`tokio::runtime::Handle`] kept for it.
///
/// The receiving end hands what arrives, with the sender's proved identity, to
/// [`RaftHandle::step`](super::RaftHandle::step) and
/// [`RaftHandle::receive_snapshot_chunk`](super::RaftHandle::receive_snapshot_chunk).
pub trait Transport: Send + Sync + 'static {
    /// Queues encoded messages for a peer, to be sent in order. The queue must be bounded.
    ///
    /// # Errors
    /// When they can't be queued; raft then probes the peer instead of streaming to it. A loss that
    /// is noticed later is reported with
    /// [`RaftHandle::report_unreachable`](super::RaftHandle::report_unreachable).
    fn send(&self, to: u64, messages: Vec<Bytes>) -> Result<(), Unreachable>;

    /// Starts sending a snapshot beside the messages, chunk by chunk, waiting for the receiver as
    /// it goes. Dropping the snapshot early counts as failure, and raft tries again.
    fn send_snapshot(&self, snapshot: OutgoingSnapshot);
}
