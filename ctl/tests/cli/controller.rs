//! A controller that answers as it is told to, and remembers what it was asked.

use futures::{StreamExt, stream, stream::BoxStream};
use std::sync::{Arc, Mutex, MutexGuard};
use tonic::{Code, Request, Response, Status};
use wharf_proto::v1::{
    ApplyStackRequest, GetRequest, GetResponse, Kind, LogEntry, LogsRequest, Object, PlanStackRequest,
    PlanStackResponse, RemoveControllerRequest, RemoveNodeRequest, RemoveServiceRequest, RemoveStackRequest,
    RestartServiceRequest, RotateTokenRequest, ScaleServicesRequest, SetAvailabilityRequest,
    SetNodeLabelsRequest, ShowTokenRequest, TokenResponse, TransferLeadershipRequest, UndoRolloutRequest,
    WatchResponse, WriteResponse, control_api_server::ControlApi, object, watch_response::Change,
};

/// What all controllers of a cluster share.
#[derive(Default)]
pub struct Script {
    /// What there is.
    pub objects: Vec<Object>,
    /// What there is once something was written.
    pub after_write: Option<Vec<Object>>,
    /// Calls that are refused, each once.
    pub refusals: Vec<(&'static str, Code)>,
    pub plan: PlanStackResponse,
    pub applied: Vec<ApplyStackRequest>,
    pub scaled: Vec<ScaleServicesRequest>,
    /// Every write: the controller that took it, and its request id.
    pub writes: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone)]
pub struct Controller {
    pub number: usize,
    pub script: Arc<Mutex<Script>>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Controller {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("a whole script")
    }

    fn refuse(&self, call: &str) -> Result<(), Status> {
        let mut script = self.script();
        match script.refusals.iter().position(|(refused, _)| *refused == call) {
            Some(found) => {
                let (_, code) = script.refusals.remove(found);
                Err(Status::new(code, format!("{call} is refused")))
            }
            None => Ok(()),
        }
    }

    fn write(&self, call: &str, request_id: &[u8]) -> Answer<WriteResponse> {
        self.script().writes.push((self.number, request_id.to_vec()));
        self.refuse(call)?;
        let mut script = self.script();
        if let Some(objects) = script.after_write.take() {
            script.objects = objects;
        }
        Ok(Response::new(WriteResponse { index: 1, version: 1 }))
    }

    fn find(&self, request: &GetRequest) -> Result<Vec<Object>, Status> {
        let script = self.script();
        let of_kind = script.objects.iter().filter(|object| kind(object) == request.kind());
        if request.names.is_empty() {
            let wanted = |object: &&Object| {
                request.stack.is_empty() || name(object).starts_with(&format!("{}/", request.stack))
            };
            return Ok(of_kind.filter(wanted).cloned().collect());
        }
        let find = |wanted: &String| {
            let found = of_kind.clone().find(|object| name(object) == wanted).cloned();
            found.ok_or_else(|| Status::not_found(format!("there is no {wanted}")))
        };
        request.names.iter().map(find).collect()
    }
}

fn kind(object: &Object) -> Kind {
    match object.object {
        Some(object::Object::Stack(_)) => Kind::Stack,
        Some(object::Object::Service(_)) => Kind::Service,
        Some(object::Object::Task(_)) => Kind::Task,
        Some(object::Object::Node(_)) => Kind::Node,
        Some(object::Object::Controller(_)) => Kind::Controller,
        Some(object::Object::Event(_)) => Kind::Event,
        None => Kind::Unspecified,
    }
}

fn name(object: &Object) -> &str {
    match &object.object {
        Some(object::Object::Stack(found)) => &found.name,
        Some(object::Object::Service(found)) => &found.name,
        Some(object::Object::Task(found)) => &found.name,
        Some(object::Object::Node(found)) => &found.name,
        Some(object::Object::Controller(found)) => &found.name,
        Some(object::Object::Event(found)) => &found.name,
        None => "",
    }
}

#[tonic::async_trait]
impl ControlApi for Controller {
    type WatchStream = BoxStream<'static, Result<WatchResponse, Status>>;
    type LogsStream = BoxStream<'static, Result<LogEntry, Status>>;

    async fn plan_stack(&self, _: Request<PlanStackRequest>) -> Answer<PlanStackResponse> {
        self.refuse("plan")?;
        Ok(Response::new(self.script().plan.clone()))
    }

    async fn apply_stack(&self, request: Request<ApplyStackRequest>) -> Answer<WriteResponse> {
        let request = request.into_inner();
        let answer = self.write("apply", &request.request_id)?;
        self.script().applied.push(request);
        Ok(answer)
    }

    async fn remove_stack(&self, request: Request<RemoveStackRequest>) -> Answer<WriteResponse> {
        self.write("remove stack", &request.into_inner().request_id)
    }

    async fn remove_service(&self, request: Request<RemoveServiceRequest>) -> Answer<WriteResponse> {
        self.write("remove service", &request.into_inner().request_id)
    }

    async fn scale_services(&self, request: Request<ScaleServicesRequest>) -> Answer<WriteResponse> {
        let request = request.into_inner();
        let answer = self.write("scale", &request.request_id)?;
        self.script().scaled.push(request);
        Ok(answer)
    }

    async fn restart_service(&self, request: Request<RestartServiceRequest>) -> Answer<WriteResponse> {
        self.write("restart", &request.into_inner().request_id)
    }

    async fn undo_rollout(&self, request: Request<UndoRolloutRequest>) -> Answer<WriteResponse> {
        self.write("undo", &request.into_inner().request_id)
    }

    async fn set_availability(&self, request: Request<SetAvailabilityRequest>) -> Answer<WriteResponse> {
        self.write("availability", &request.into_inner().request_id)
    }

    async fn set_node_labels(&self, request: Request<SetNodeLabelsRequest>) -> Answer<WriteResponse> {
        self.write("labels", &request.into_inner().request_id)
    }

    async fn remove_node(&self, request: Request<RemoveNodeRequest>) -> Answer<WriteResponse> {
        self.write("remove node", &request.into_inner().request_id)
    }

    async fn remove_controller(&self, request: Request<RemoveControllerRequest>) -> Answer<WriteResponse> {
        self.write("remove controller", &request.into_inner().request_id)
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Answer<WriteResponse> {
        self.write("transfer", &request.into_inner().request_id)
    }

    async fn show_token(&self, request: Request<ShowTokenRequest>) -> Answer<TokenResponse> {
        let token = format!("token-of-{}", request.into_inner().role);
        Ok(Response::new(TokenResponse { token, expires: None }))
    }

    async fn rotate_token(&self, request: Request<RotateTokenRequest>) -> Answer<TokenResponse> {
        let token = format!("new-token-of-{}", request.into_inner().role);
        Ok(Response::new(TokenResponse { token, expires: Some(1000) }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Answer<GetResponse> {
        let request = request.into_inner();
        // The list that the client learns its addresses from is no test's own call.
        if request.kind() != Kind::Controller {
            self.refuse("get")?;
        }
        Ok(Response::new(GetResponse { objects: self.find(&request)?, index: 1 }))
    }

    async fn watch(&self, request: Request<GetRequest>) -> Answer<Self::WatchStream> {
        self.refuse("watch")?;
        let told = self.find(request.get_ref())?.into_iter().map(|object| (Change::Added, Some(object)));
        let told = told.chain([(Change::Bookmark, None)]);
        let told = told.map(|(change, object)| Ok(WatchResponse { change: change.into(), object, index: 1 }));
        let told: Vec<_> = told.collect();
        Ok(Response::new(stream::iter(told).chain(stream::pending()).boxed()))
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Answer<Self::LogsStream> {
        self.refuse("logs")?;
        let target = request.into_inner().target;
        let line = |slot: u32, at, line: &str| {
            let task = format!("{target}.{slot}");
            let line = line.as_bytes().to_vec().into();
            Ok(LogEntry { task, node: "a1".to_owned(), stream: "stdout".to_owned(), at, line })
        };
        let told = vec![line(1, 1_000_000_000, "hello"), line(2, 2_000_000_000, "there")];
        Ok(Response::new(stream::iter(told).boxed()))
    }
}
