//! Sending a snapshot to a peer, one chunk after another.

use super::{MAX_FRAME, Peers, reason::reason};
use crate::raft::{OutgoingSnapshot, StoreError};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};
use wharf_cluster::ids::ControllerId;
use wharf_proto::v1::{SnapshotChunk, raft_api_client::RaftApiClient};

/// Chunks that wait in the stream.
const CHUNKS: usize = 2;

/// Sends a snapshot beside everything else. That it failed is told by dropping it.
pub(super) fn send(peers: Arc<Peers>, snapshot: OutgoingSnapshot) {
    peers.runtime().clone().spawn(async move {
        let (controller, bytes) = (ControllerId(snapshot.to()), snapshot.total_bytes());
        match transfer(&peers, snapshot).await {
            Ok(()) => tracing::info!(%controller, bytes, "sent a snapshot"),
            Err(error) => tracing::warn!(%controller, %error, "a snapshot did not arrive"),
        }
    });
}

#[derive(Debug, Error)]
enum SendError {
    #[error("{0}")]
    Peer(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("reading it was interrupted")]
    Interrupted,
}

impl From<Status> for SendError {
    fn from(status: Status) -> Self {
        SendError::Peer(reason(&status))
    }
}

async fn transfer(peers: &Peers, mut snapshot: OutgoingSnapshot) -> Result<(), SendError> {
    let channel = peers.channel(snapshot.to()).map_err(|error| SendError::Peer(error.to_string()))?;
    let mut client = RaftApiClient::new(channel).max_encoding_message_size(MAX_FRAME);
    let (chunks, stream) = mpsc::channel(CHUNKS);
    let mut request = Request::new(ReceiverStream::new(stream));
    peers.introduce(request.metadata_mut());
    let answer = client.snapshot(request);
    tokio::pin!(answer);
    loop {
        let (next, unread) = tokio::task::spawn_blocking(move || (snapshot.next_chunk(), snapshot))
            .await
            .map_err(|_| SendError::Interrupted)?;
        snapshot = unread;
        let Some(data) = next? else { break };
        let chunk = SnapshotChunk { data };
        tokio::select! {
            sent = chunks.send(chunk) => if sent.is_err() {
                break;
            },
            result = &mut answer => {
                result?;
                return Err(SendError::Peer("the peer ended the transfer early".to_owned()));
            }
        }
    }
    drop(chunks);
    answer.await?;
    snapshot.delivered();
    Ok(())
}
