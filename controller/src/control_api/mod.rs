//! What clients call. One file for each kind of call; this one only says which.

mod backup;
mod get;
mod logs;
mod members;
mod node_down;
mod plan;
mod selection;
mod tokens;
mod watch;
mod writes;

use crate::core::Core;
use std::{pin::Pin, sync::Arc};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};
use wharf_proto::v1::{
    ApplyStackRequest, BackupChunk, BackupRequest, DeclareNodesDownRequest, GetRequest, GetResponse,
    LogEntry, LogsRequest, PlanStackRequest, PlanStackResponse, RemoveControllerRequest, RemoveNodeRequest,
    RemoveServiceRequest, RemoveStackRequest, RestartServiceRequest, RestoreRequest, RestoreResponse,
    RotateTokenRequest, ScaleServicesRequest, SetAvailabilityRequest, SetControllerVotesRequest,
    SetNodeLabelsRequest, ShowTokenRequest, TokenResponse, TransferLeadershipRequest, UndoRolloutRequest,
    WatchResponse, WriteResponse,
    control_api_server::{ControlApi, ControlApiServer},
};

/// Answers clients.
pub struct ControlService {
    core: Arc<Core>,
}

impl ControlService {
    /// The service of this controller.
    #[must_use]
    pub fn server(core: Arc<Core>) -> ControlApiServer<Self> {
        ControlApiServer::new(ControlService { core })
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ControlApi for ControlService {
    type WatchStream = Answers<WatchResponse>;
    type LogsStream = Answers<LogEntry>;
    type BackupStream = Answers<BackupChunk>;

    async fn plan_stack(&self, request: Request<PlanStackRequest>) -> Answer<PlanStackResponse> {
        plan::plan_stack(&self.core, request.into_inner()).await.map(Response::new)
    }

    async fn apply_stack(&self, request: Request<ApplyStackRequest>) -> Answer<WriteResponse> {
        writes::apply_stack(&self.core, request.into_inner()).await.map(Response::new)
    }

    async fn remove_stack(&self, request: Request<RemoveStackRequest>) -> Answer<WriteResponse> {
        writes::remove_stack(&self.core, request.into_inner()).await.map(Response::new)
    }

    async fn remove_service(&self, request: Request<RemoveServiceRequest>) -> Answer<WriteResponse> {
        writes::remove_service(&self.core, request.into_inner()).await.map(Response::new)
    }

    async fn scale_services(&self, request: Request<ScaleServicesRequest>) -> Answer<WriteResponse> {
        writes::scale_services(&self.core, request.into_inner()).await.map(Response::new)
    }

    async fn restart_service(&self, request: Request<RestartServiceRequest>) -> Answer<WriteResponse> {
        writes::restart_service(&self.core, request.into_inner()).await.map(Response::new)
    }

    async fn undo_rollout(&self, request: Request<UndoRolloutRequest>) -> Answer<WriteResponse> {
        writes::undo_rollout(&self.core, request.into_inner()).await.map(Response::new)
    }

    async fn set_availability(&self, request: Request<SetAvailabilityRequest>) -> Answer<WriteResponse> {
        writes::set_availability(&self.core, request.into_inner()).await.map(Response::new)
    }

    async fn set_node_labels(&self, request: Request<SetNodeLabelsRequest>) -> Answer<WriteResponse> {
        writes::set_node_labels(&self.core, request.into_inner()).await.map(Response::new)
    }

    async fn remove_node(&self, request: Request<RemoveNodeRequest>) -> Answer<WriteResponse> {
        writes::remove_node(&self.core, request.into_inner()).await.map(Response::new)
    }

    async fn declare_nodes_down(&self, request: Request<DeclareNodesDownRequest>) -> Answer<WriteResponse> {
        node_down::declare(&self.core, request.into_inner()).await.map(Response::new)
    }

    async fn remove_controller(&self, request: Request<RemoveControllerRequest>) -> Answer<WriteResponse> {
        members::remove(&self.core, request.into_inner()).await.map(Response::new)
    }

    async fn set_controller_votes(
        &self,
        request: Request<SetControllerVotesRequest>,
    ) -> Answer<WriteResponse> {
        members::set_votes(&self.core, request.into_inner()).await.map(Response::new)
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Answer<WriteResponse> {
        members::transfer(&self.core, request.into_inner()).await.map(Response::new)
    }

    async fn show_token(&self, request: Request<ShowTokenRequest>) -> Answer<TokenResponse> {
        tokens::show(&self.core, &request.into_inner()).await.map(Response::new)
    }

    async fn rotate_token(&self, request: Request<RotateTokenRequest>) -> Answer<TokenResponse> {
        tokens::rotate(&self.core, &request.into_inner()).await.map(Response::new)
    }

    async fn get(&self, request: Request<GetRequest>) -> Answer<GetResponse> {
        get::get(&self.core, request).await
    }

    async fn watch(&self, request: Request<GetRequest>) -> Answer<Self::WatchStream> {
        watch::watch(&self.core, request).await
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Answer<Self::LogsStream> {
        logs::logs(&self.core, request.into_inner())
            .await
            .map(|stream| Response::new(stream as Answers<LogEntry>))
    }

    async fn backup(&self, _request: Request<BackupRequest>) -> Answer<Self::BackupStream> {
        backup::backup(&self.core).await.map(Response::new)
    }

    async fn restore(&self, request: Request<Streaming<RestoreRequest>>) -> Answer<RestoreResponse> {
        backup::restore(&self.core, request).await.map(Response::new)
    }
}
