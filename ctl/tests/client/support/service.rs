//! A control service that answers as a test wants, and keeps what it was asked.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex},
};
use tokio::sync::{mpsc, watch};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use wharf_proto::v1::{
    ApplyStackRequest, BackupChunk, BackupRequest, DeclareNodesDownRequest, GetRequest, GetResponse, Kind,
    LogEntry, LogsRequest, Object, PlanStackRequest, PlanStackResponse, RemoveControllerRequest,
    RemoveNodeRequest, RemoveServiceRequest, RemoveStackRequest, RestartServiceRequest, RestoreRequest,
    RestoreResponse, RotateTokenRequest, ScaleServicesRequest, SetAvailabilityRequest,
    SetControllerVotesRequest, SetNodeLabelsRequest, ShowTokenRequest, TokenResponse,
    TransferLeadershipRequest, UndoRolloutRequest, WatchResponse, WriteResponse,
    control_api_server::ControlApi, object, watch_response::Change,
};

/// All objects of a cluster.
pub(crate) type Picture = Vec<Object>;

/// What happens when a write is applied.
type OnWrite = Box<dyn Fn(&watch::Sender<Picture>) + Send>;

/// What the controllers of one test cluster answer, and what they were asked. Controllers share it.
pub(crate) struct Script {
    pub(crate) objects: watch::Sender<Picture>,
    pub(crate) plan: Mutex<PlanStackResponse>,
    /// Answers to the next writes instead of what they ask for.
    pub(crate) refusals: Mutex<VecDeque<Status>>,
    /// The kind and request id of every write that came in.
    pub(crate) writes: Mutex<Vec<(&'static str, Vec<u8>)>>,
    pub(crate) applied: Mutex<Vec<ApplyStackRequest>>,
    pub(crate) logs_asked: Mutex<Vec<LogsRequest>>,
    pub(crate) on_write: Mutex<Option<OnWrite>>,
    /// Writes are taken, and not answered, as long as this is set.
    pub(crate) mute: watch::Sender<bool>,
    /// What each stream of logs sends; the last one ends well, those before break off.
    pub(crate) logs: Mutex<VecDeque<Vec<LogEntry>>>,
    /// What a backup sends; without an end it breaks off.
    pub(crate) backup: Mutex<Vec<Result<Vec<u8>, Status>>>,
}

impl Script {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Script {
            objects: watch::Sender::default(),
            plan: Mutex::default(),
            refusals: Mutex::default(),
            writes: Mutex::default(),
            applied: Mutex::default(),
            logs_asked: Mutex::default(),
            on_write: Mutex::default(),
            mute: watch::Sender::default(),
            logs: Mutex::default(),
            backup: Mutex::default(),
        })
    }

    /// Answers the next write so.
    pub(crate) fn refuse(&self, status: Status) {
        self.refusals.lock().unwrap().push_back(status);
    }

    pub(crate) fn set(&self, objects: Picture) {
        self.objects.send_replace(objects);
    }

    /// What the picture becomes when the next write is applied.
    pub(crate) fn when_written(&self, change: impl Fn(&watch::Sender<Picture>) + Send + 'static) {
        *self.on_write.lock().unwrap() = Some(Box::new(change));
    }

    pub(crate) fn writes(&self) -> Vec<(&'static str, Vec<u8>)> {
        self.writes.lock().unwrap().clone()
    }

    fn refused(&self) -> Result<(), Status> {
        self.refusals.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }

    async fn write(&self, what: &'static str, id: &[u8]) -> Answer<WriteResponse> {
        self.writes.lock().unwrap().push((what, id.to_vec()));
        let mut mute = self.mute.subscribe();
        mute.wait_for(|mute| !mute).await.map_err(|_| Status::internal("the test is over"))?;
        self.refused()?;
        if let Some(change) = self.on_write.lock().unwrap().take() {
            change(&self.objects);
        }
        Ok(Response::new(WriteResponse { index: 7, version: 1 }))
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

pub(crate) struct FakeControl(pub(crate) Arc<Script>);

fn selected(all: &Picture, request: &GetRequest) -> BTreeMap<String, Object> {
    let wanted = |object: &Object| {
        let (kind, name, id, stack, service) = match object.object.as_ref()? {
            object::Object::Service(found) => {
                (Kind::Service, &found.name, &found.id, &found.stack, &found.name)
            }
            object::Object::Task(found) => (Kind::Task, &found.name, &found.id, &found.stack, &found.service),
            object::Object::Node(found) => (Kind::Node, &found.name, &found.id, &found.id, &found.id),
            object::Object::Controller(found) => {
                (Kind::Controller, &found.name, &found.id, &found.id, &found.id)
            }
            _ => return None,
        };
        let named = request.names.is_empty() || request.names.contains(name) || request.names.contains(id);
        let fits = named
            && kind == request.kind()
            && (request.stack.is_empty() || request.stack == *stack)
            && (request.service.is_empty() || request.service == *service);
        fits.then(|| id.clone())
    };
    all.iter().filter_map(|object| Some((wanted(object)?, object.clone()))).collect()
}

async fn show(
    mut objects: watch::Receiver<Picture>,
    request: GetRequest,
    client: mpsc::Sender<Result<WatchResponse, Status>>,
) -> Option<()> {
    let response = |change: Change, object| Ok(WatchResponse { change: change.into(), object, index: 1 });
    let mut shown = selected(&objects.borrow_and_update(), &request);
    for object in shown.values() {
        client.send(response(Change::Added, Some(object.clone()))).await.ok()?;
    }
    client.send(response(Change::Bookmark, None)).await.ok()?;
    loop {
        tokio::select! {
            changed = objects.changed() => changed.ok()?,
            () = client.closed() => return None,
        }
        let now = selected(&objects.borrow_and_update(), &request);
        for (id, object) in &shown {
            if !now.contains_key(id) {
                client.send(response(Change::Removed, Some(object.clone()))).await.ok()?;
            }
        }
        for (id, object) in &now {
            if shown.get(id) != Some(object) {
                client.send(response(Change::Modified, Some(object.clone()))).await.ok()?;
            }
        }
        shown = now;
    }
}

#[tonic::async_trait]
impl ControlApi for FakeControl {
    type WatchStream = Answers<WatchResponse>;
    type LogsStream = Answers<LogEntry>;
    type BackupStream = Answers<BackupChunk>;

    async fn plan_stack(&self, _: Request<PlanStackRequest>) -> Answer<PlanStackResponse> {
        Ok(Response::new(self.0.plan.lock().unwrap().clone()))
    }

    async fn apply_stack(&self, request: Request<ApplyStackRequest>) -> Answer<WriteResponse> {
        let request = request.into_inner();
        self.0.applied.lock().unwrap().push(request.clone());
        self.0.write("apply", &request.request_id).await
    }

    async fn remove_stack(&self, request: Request<RemoveStackRequest>) -> Answer<WriteResponse> {
        self.0.write("remove stack", &request.into_inner().request_id).await
    }

    async fn remove_service(&self, request: Request<RemoveServiceRequest>) -> Answer<WriteResponse> {
        self.0.write("remove service", &request.into_inner().request_id).await
    }

    async fn scale_services(&self, request: Request<ScaleServicesRequest>) -> Answer<WriteResponse> {
        self.0.write("scale", &request.into_inner().request_id).await
    }

    async fn restart_service(&self, request: Request<RestartServiceRequest>) -> Answer<WriteResponse> {
        self.0.write("restart", &request.into_inner().request_id).await
    }

    async fn undo_rollout(&self, request: Request<UndoRolloutRequest>) -> Answer<WriteResponse> {
        self.0.write("undo", &request.into_inner().request_id).await
    }

    async fn set_availability(&self, request: Request<SetAvailabilityRequest>) -> Answer<WriteResponse> {
        self.0.write("availability", &request.into_inner().request_id).await
    }

    async fn set_node_labels(&self, request: Request<SetNodeLabelsRequest>) -> Answer<WriteResponse> {
        self.0.write("labels", &request.into_inner().request_id).await
    }

    async fn remove_node(&self, request: Request<RemoveNodeRequest>) -> Answer<WriteResponse> {
        self.0.write("remove node", &request.into_inner().request_id).await
    }

    async fn declare_nodes_down(&self, request: Request<DeclareNodesDownRequest>) -> Answer<WriteResponse> {
        self.0.write("declare nodes down", &request.into_inner().request_id).await
    }

    async fn remove_controller(&self, request: Request<RemoveControllerRequest>) -> Answer<WriteResponse> {
        self.0.write("remove controller", &request.into_inner().request_id).await
    }

    async fn set_controller_votes(
        &self,
        request: Request<SetControllerVotesRequest>,
    ) -> Answer<WriteResponse> {
        let request = request.into_inner();
        let what = if request.votes { "promote" } else { "demote" };
        self.0.write(what, &request.request_id).await
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Answer<WriteResponse> {
        self.0.write("transfer", &request.into_inner().request_id).await
    }

    async fn show_token(&self, request: Request<ShowTokenRequest>) -> Answer<TokenResponse> {
        let token = format!("wharf-{}-secret", request.into_inner().role);
        Ok(Response::new(TokenResponse { token, expires: None }))
    }

    async fn rotate_token(&self, _: Request<RotateTokenRequest>) -> Answer<TokenResponse> {
        Err(Status::unimplemented("no test rotates tokens"))
    }

    async fn get(&self, request: Request<GetRequest>) -> Answer<GetResponse> {
        let request = request.into_inner();
        let found = selected(&self.0.objects.borrow(), &request);
        if found.is_empty() && !request.names.is_empty() {
            return Err(Status::not_found(format!("there is no node {}", request.names[0])));
        }
        Ok(Response::new(GetResponse { objects: found.into_values().collect(), index: 1 }))
    }

    async fn watch(&self, request: Request<GetRequest>) -> Answer<Self::WatchStream> {
        let (client, stream) = mpsc::channel(16);
        tokio::spawn(show(self.0.objects.subscribe(), request.into_inner(), client));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Answer<Self::LogsStream> {
        self.0.logs_asked.lock().unwrap().push(request.into_inner());
        let mut left = self.0.logs.lock().unwrap();
        let mut entries: Vec<_> = left.pop_front().unwrap_or_default().into_iter().map(Ok).collect();
        if !left.is_empty() {
            entries.push(Err(Status::unavailable("this controller is stopping")));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(entries))))
    }

    async fn backup(&self, _: Request<BackupRequest>) -> Answer<Self::BackupStream> {
        let pieces = self.0.backup.lock().unwrap().clone();
        let chunks: Vec<_> =
            pieces.into_iter().map(|piece| piece.map(|data| BackupChunk { data: data.into() })).collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }

    async fn restore(&self, _: Request<Streaming<RestoreRequest>>) -> Answer<RestoreResponse> {
        self.0.writes.lock().unwrap().push(("restore", Vec::new()));
        self.0.refused()?;
        Err(Status::unimplemented("no test's cluster gives way"))
    }
}
