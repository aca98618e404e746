//! What agents call: their session, and the streams that they are asked for in it.

use crate::{
    core::Core,
    gate::Caller,
    leader::dispatch::{Answer, Term},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wharf_cluster::ids::{ControllerId, NodeId};
use wharf_proto::v1::{
    AgentMessage, ControllerMessage, Hello, Redirect, StreamData,
    agent_api_server::{AgentApi, AgentApiServer},
    agent_message, controller_message, stream_data,
};

/// Messages that wait in a session's stream.
const SESSION_QUEUE: usize = 16;
/// Messages that wait in another stream.
const STREAM_QUEUE: usize = 64;
/// How long the first message may take.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// How long an agent waits for a controller that doesn't know a leader yet.
const ELECTION: Duration = Duration::from_secs(2);

/// Answers agents.
pub struct AgentService {
    core: Arc<Core>,
}

impl AgentService {
    /// The service of this controller.
    #[must_use]
    pub fn server(core: Arc<Core>) -> AgentApiServer<Self> {
        AgentApiServer::new(AgentService { core })
    }
}

fn node<T>(request: &Request<T>) -> Result<NodeId, Status> {
    let identity = Caller::expect(request)?.identity();
    let node = identity.and_then(|identity| identity.id.parse().ok());
    node.ok_or_else(|| Status::permission_denied("the certificate names no node"))
}

#[tonic::async_trait]
impl AgentApi for AgentService {
    type SessionStream = ReceiverStream<Result<ControllerMessage, Status>>;
    type AnswerStream = ReceiverStream<Result<StreamData, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let node = node(&request)?;
        let remote = Caller::expect(&request)?.remote();
        let inbound = request.into_inner();
        let (outgoing, messages) = mpsc::channel(SESSION_QUEUE);
        let core = self.core.clone();
        tokio::spawn(async move {
            let last = match session(&core, node, inbound, &outgoing).await {
                Ok(()) => Ok(redirect(&core)),
                Err(status) => {
                    tracing::warn!(%node, %remote, reason = status.message(), "ended an agent's session");
                    Err(status)
                }
            };
            // An agent that has gone needs no last word.
            let _ = outgoing.send(last).await;
        });
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    async fn answer(
        &self,
        request: Request<Streaming<StreamData>>,
    ) -> Result<Response<Self::AnswerStream>, Status> {
        let node = node(&request)?;
        let mut inbound = request.into_inner();
        let first = first(&mut inbound).await?;
        let Some(stream_data::Data::StreamId(stream_id)) = first.data else {
            return Err(Status::invalid_argument("the first message names the stream"));
        };
        let term = self
            .core
            .dispatcher
            .active()
            .ok_or_else(|| Status::unavailable("this controller is not the leader any more"))?;
        let (outbound, messages) = mpsc::channel(STREAM_QUEUE);
        term.answered(node, &stream_id, Answer { inbound, outbound })?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

async fn session(
    core: &Core,
    node: NodeId,
    mut inbound: Streaming<AgentMessage>,
    outgoing: &mpsc::Sender<Result<ControllerMessage, Status>>,
) -> Result<(), Status> {
    let Some(term) = term(core).await else { return Ok(()) };
    let Some(agent_message::Message::Hello(hello)) = first(&mut inbound).await?.message else {
        return Err(Status::invalid_argument("a session begins with hello"));
    };
    serve(&term, node, hello, inbound, outgoing).await
}

async fn serve(
    term: &Arc<Term>,
    node: NodeId,
    hello: Hello,
    inbound: Streaming<AgentMessage>,
    outgoing: &mpsc::Sender<Result<ControllerMessage, Status>>,
) -> Result<(), Status> {
    tracing::debug!(%node, term = term.number(), "an agent's session begins");
    let result = term.serve(node, hello, inbound, outgoing.clone()).await;
    tracing::debug!(%node, "an agent's session has ended");
    result
}

/// This controller's leadership. While an election goes on, its outcome is waited for.
async fn term(core: &Core) -> Option<Arc<Term>> {
    let mut leadership = core.leadership.clone();
    let id = core.id.0;
    let elsewhere = leadership.wait_for(|now| now.leader.is_some_and(|leader| leader != id));
    tokio::select! {
        biased;
        term = core.dispatcher.activated() => Some(term),
        _ = elsewhere => None,
        () = tokio::time::sleep(ELECTION) => None,
    }
}

async fn first<T>(inbound: &mut Streaming<T>) -> Result<T, Status> {
    match tokio::time::timeout(FIRST_MESSAGE, inbound.message()).await {
        Ok(message) => message?.ok_or_else(|| Status::invalid_argument("the stream has no first message")),
        Err(_) => Err(Status::deadline_exceeded("the first message did not come in time")),
    }
}

/// Where the leader is, as far as is known here.
fn redirect(core: &Core) -> ControllerMessage {
    let leader = core.leadership.borrow().leader.filter(|leader| *leader != core.id.0);
    let state = core.published.state();
    let known = leader.and_then(|leader| state.controller(ControllerId(leader)));
    let leader = known.map(|controller| controller.address.clone()).unwrap_or_default();
    ControllerMessage { message: Some(controller_message::Message::Redirect(Redirect { leader })) }
}
