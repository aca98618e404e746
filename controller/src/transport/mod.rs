//! Controllers among each other: one long stream to each peer for Raft's messages, and a stream for each snapshot.

mod link;
mod peers;
mod reason;
mod service;
mod snapshot;

pub use peers::{OWN_VERSION, Peers, PeersError, Told};
pub use service::RaftService;

use crate::raft::{OutgoingSnapshot, Transport, Unreachable};
use bytes::Bytes;
use std::sync::Arc;

/// The largest message between controllers: a batch, or one entry as large as the log takes, and its frame.
pub(crate) const MAX_FRAME: usize = 8 << 20;

/// Raft's way to its peers.
pub struct GrpcTransport(Arc<Peers>);

impl GrpcTransport {
    /// A transport to these peers.
    #[must_use]
    pub fn new(peers: Arc<Peers>) -> Self {
        GrpcTransport(peers)
    }
}

impl Transport for GrpcTransport {
    fn send(&self, to: u64, messages: Vec<Bytes>) -> Result<(), Unreachable> {
        link::to(&self.0, to).send(messages)
    }

    fn send_snapshot(&self, snapshot: OutgoingSnapshot) {
        snapshot::send(self.0.clone(), snapshot);
    }
}
