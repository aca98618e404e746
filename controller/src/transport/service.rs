//! The receiving end of what controllers send each other.

use super::MAX_FRAME;
use crate::{core::Core, gate::Caller, raft::PeerError};
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};
use wharf_cluster::ids::ControllerId;
use wharf_proto::v1::{
    Greeting, RaftEnd, RaftMessages, SnapshotChunk,
    raft_api_server::{RaftApi, RaftApiServer},
};

/// Takes peers' messages and snapshots for the replica.
pub struct RaftService {
    core: Arc<Core>,
}

impl RaftService {
    /// The service of this controller.
    #[must_use]
    pub fn server(core: Arc<Core>) -> RaftApiServer<Self> {
        RaftApiServer::new(RaftService { core }).max_decoding_message_size(MAX_FRAME)
    }

    /// Who sends, proved by its certificate.
    fn sender<T>(&self, request: &Request<T>) -> Result<u64, Status> {
        let peer = Caller::expect(request)?.peer().and_then(|peer| peer.identity());
        let id: Option<ControllerId> = peer.and_then(|identity| identity.id.parse().ok());
        let id = id.ok_or_else(|| Status::permission_denied("the certificate names no controller"))?;
        if !self.core.raft.status().borrow().has_member(id.0) {
            self.core.peers.refuse_removed(id)?;
        }
        Ok(id.0)
    }
}

#[tonic::async_trait]
impl RaftApi for RaftService {
    async fn exchange(&self, request: Request<Streaming<RaftMessages>>) -> Result<Response<RaftEnd>, Status> {
        let from = self.sender(&request)?;
        let _heard = self.core.peers.hear(from, request.metadata());
        let mut stream = request.into_inner();
        loop {
            let next = tokio::select! {
                next = stream.message() => next?,
                // The stream is held open by the peer, which would keep this controller from stopping.
                () = self.core.stopping.cancelled() => return Err(Status::unavailable("this controller is stopping")),
            };
            let Some(batch) = next else { return Ok(Response::new(RaftEnd {})) };
            for message in batch.messages {
                self.core.raft.step(from, &message).await.map_err(|error| refused(from, &error))?;
            }
        }
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<RaftEnd>, Status> {
        let from = self.sender(&request)?;
        let mut stream = request.into_inner();
        while let Some(chunk) = stream.message().await? {
            self.core
                .raft
                .receive_snapshot_chunk(from, chunk.data)
                .await
                .map_err(|error| refused(from, &error))?;
        }
        Ok(Response::new(RaftEnd {}))
    }

    async fn greet(&self, request: Request<Greeting>) -> Result<Response<Greeting>, Status> {
        self.sender(&request)?;
        Ok(Response::new(Greeting {}))
    }
}

fn refused(from: u64, error: &PeerError) -> Status {
    match error {
        PeerError::Stopped => Status::unavailable(error.to_string()),
        PeerError::Message(_) | PeerError::Chunk(_) => {
            tracing::warn!(controller = %ControllerId(from), %error, "refused what a controller sent");
            Status::invalid_argument(error.to_string())
        }
    }
}
