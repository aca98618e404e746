//! A controller that says what the test wants it to, on a real port with real TLS.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wharf_identity::{
    Authority, Credentials, CredentialsCell, Identity, KeyAndRequest, Protocols, Role, grpc_server,
    server_config, tls_incoming,
};
use wharf_proto::v1::agent_api_server::{AgentApi, AgentApiServer};
use wharf_proto::v1::controller_message::Message;
use wharf_proto::v1::{
    AgentMessage, AssignedTask, AssignmentDifference, AssignmentFull, ControllerMessage, Generation, Hello,
    ReportsTaken, StreamData, TaskReport, Welcome, agent_message,
};

use super::within;

type Outgoing<T> = mpsc::Sender<Result<T, Status>>;

/// A cluster's authority.
pub fn authority() -> Arc<Authority> {
    Arc::new(Authority::create("c1", SystemTime::now()).unwrap())
}

pub fn credentials(authority: &Authority, role: Role, id: &str) -> Credentials {
    let key = KeyAndRequest::generate().unwrap();
    let identity = Identity::new(authority.cluster(), role, id).unwrap();
    let lifetime = Duration::from_secs(3600);
    let cert = authority.issue(&key.csr_pem, &identity, &[], SystemTime::now(), lifetime).unwrap();
    Credentials::from_pem(authority.certificate_pem(), &cert, &key.key_pem).unwrap()
}

/// A controller; gone when dropped.
pub struct Controller {
    pub address: String,
    sessions: Mutex<mpsc::Receiver<Session>>,
    answers: Mutex<mpsc::Receiver<Answer>>,
    task: JoinHandle<()>,
}

/// A stream that the agent has opened.
pub struct Answer {
    pub inbound: Streaming<StreamData>,
    pub outbound: Outgoing<StreamData>,
}

/// An agent's session.
pub struct Session {
    pub hello: Hello,
    inbound: Streaming<AgentMessage>,
    out: Outgoing<ControllerMessage>,
    generation: Generation,
}

struct Service {
    sessions: mpsc::Sender<Session>,
    answers: mpsc::Sender<Answer>,
}

#[tonic::async_trait]
impl AgentApi for Service {
    type SessionStream = ReceiverStream<Result<ControllerMessage, Status>>;
    type AnswerStream = ReceiverStream<Result<StreamData, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut inbound = request.into_inner();
        let (out, queue) = mpsc::channel(16);
        let sessions = self.sessions.clone();
        tokio::spawn(async move {
            let first = inbound.message().await.unwrap().unwrap().message;
            let Some(agent_message::Message::Hello(hello)) = first else { panic!("no hello: {first:?}") };
            let _ = sessions.send(Session { hello, inbound, out, generation: Generation::default() }).await;
        });
        Ok(Response::new(ReceiverStream::new(queue)))
    }

    async fn answer(
        &self,
        request: Request<Streaming<StreamData>>,
    ) -> Result<Response<Self::AnswerStream>, Status> {
        let (outbound, queue) = mpsc::channel(1);
        let _ = self.answers.send(Answer { inbound: request.into_inner(), outbound }).await;
        Ok(Response::new(ReceiverStream::new(queue)))
    }
}

impl Controller {
    pub async fn start(authority: &Authority) -> Self {
        let cell = CredentialsCell::new(credentials(authority, Role::Controller, "1"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let incoming = tls_incoming(listener, server_config(&cell, Protocols::Http2).unwrap());
        let (sessions, sessions_queue) = mpsc::channel(16);
        let (answers, answers_queue) = mpsc::channel(16);
        let service = AgentApiServer::new(Service { sessions, answers });
        let task = tokio::spawn(async move {
            grpc_server().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        let (sessions, answers) = (Mutex::new(sessions_queue), Mutex::new(answers_queue));
        Controller { address, sessions, answers, task }
    }

    /// The agent's next session.
    pub async fn session(&self) -> Session {
        within("a session", async { self.sessions.lock().await.recv().await }).await.unwrap()
    }

    /// The agent's next answer.
    pub async fn answer(&self) -> Answer {
        within("an answer", async { self.answers.lock().await.recv().await }).await.unwrap()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    pub async fn say(&self, message: Message) {
        self.out.send(Ok(ControllerMessage { message: Some(message) })).await.unwrap();
    }

    pub async fn welcome(&mut self, term: u64, session: u64) {
        self.generation = Generation { term, session, sequence: 0 };
        let welcome = Welcome {
            term,
            session,
            heartbeat: 50,
            ttl: 60_000,
            node_id: "2".into(),
            node_name: "node-1".into(),
        };
        self.say(Message::Welcome(welcome)).await;
    }

    pub fn next(&mut self) -> Generation {
        self.generation.sequence += 1;
        self.generation
    }

    pub async fn full(&mut self, tasks: Vec<AssignedTask>) {
        let generation = Some(self.next());
        self.say(Message::Full(AssignmentFull { generation, tasks })).await;
    }

    pub async fn difference(&mut self, tasks: Vec<AssignedTask>, removed: &[&str]) {
        let generation = Some(self.next());
        let removed = removed.iter().map(ToString::to_string).collect();
        self.say(Message::Difference(AssignmentDifference { generation, tasks, removed })).await;
    }

    /// What the agent says next.
    async fn hear(&mut self) -> Option<agent_message::Message> {
        let heard = within("a word of the agent", self.inbound.message()).await;
        heard.ok().flatten()?.message
    }

    /// The agent's next reports, with their number; heartbeats are passed over.
    pub async fn reports(&mut self) -> (u64, Vec<TaskReport>) {
        loop {
            match self.hear().await.expect("the session goes on") {
                agent_message::Message::Reports(reports) => return (reports.sequence, reports.reports),
                agent_message::Message::Heartbeat(_) => {}
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    pub async fn taken(&self, sequence: u64) {
        self.say(Message::ReportsTaken(ReportsTaken { sequence })).await;
    }

    /// Takes reports until a task is in a state.
    pub async fn until_state(&mut self, task: &str, state: &str) -> TaskReport {
        loop {
            let (sequence, reports) = self.reports().await;
            self.taken(sequence).await;
            if let Some(found) =
                reports.into_iter().find(|report| report.task == task && report.state == state)
            {
                return found;
            }
        }
    }

    /// The sequence in the agent's next heartbeat.
    pub async fn heartbeat(&mut self) -> u64 {
        loop {
            if let agent_message::Message::Heartbeat(heartbeat) =
                self.hear().await.expect("the session goes on")
            {
                return heartbeat.sequence;
            }
        }
    }

    /// Waits until the agent has ended the session.
    pub async fn ended(mut self) {
        while self.hear().await.is_some() {}
    }
}
