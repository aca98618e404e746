//! One agent's session: what is to be said to it, kept until it can be, and the two directions of its stream.

use super::{assignment::Assignment, nodes::News, reports::Reported, term::Term};
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use wharf_cluster::ids::{NodeId, TaskId};
use wharf_proto::v1::{
    AgentMessage, ControllerMessage, Controllers, HeartbeatTaken, Hello, OpenStream, ReportsTaken, Welcome,
    agent_message, controller_message::Message,
};

/// Streams that may wait to be asked for.
const STREAMS: usize = 256;
/// Reports taken in one message.
const MAX_REPORTS: usize = 10_000;

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// This controller leads no longer.
    Deposed,
    /// The node has begun another session.
    Replaced,
    /// The node was removed from the cluster.
    Removed,
    /// Nothing was heard of the node for too long.
    Silent,
}

/// What is to be said. Later things take the place of earlier ones, so that an agent that is slow to read costs nothing.
#[derive(Debug, Default)]
struct Outbox {
    full: bool,
    changed: BTreeSet<TaskId>,
    taken: Option<u64>,
    heartbeat: bool,
    streams: Vec<OpenStream>,
}

/// One agent's session.
#[derive(Debug)]
pub struct Session {
    pub(super) node: NodeId,
    number: u64,
    outbox: Mutex<Outbox>,
    wake: Notify,
    over: CancellationToken,
    ending: OnceLock<Ending>,
}

impl Session {
    pub(super) fn new(node: NodeId, number: u64) -> Self {
        Session {
            node,
            number,
            outbox: Mutex::new(Outbox { full: true, ..Outbox::default() }),
            wake: Notify::new(),
            over: CancellationToken::new(),
            ending: OnceLock::new(),
        }
    }

    /// Ends the session.
    pub(super) fn end(&self, why: Ending) {
        // The first reason counts.
        let _ = self.ending.set(why);
        self.over.cancel();
    }

    /// Waits until the session ends.
    pub(super) async fn ended(&self) {
        self.over.cancelled().await;
    }

    fn say(&self, what: impl FnOnce(&mut Outbox)) {
        what(&mut self.outbox.lock());
        self.wake.notify_one();
    }

    /// These tasks have changed.
    pub(super) fn mark(&self, tasks: BTreeSet<TaskId>) {
        self.say(|outbox| outbox.changed.extend(tasks));
    }

    /// Anything may have changed.
    pub(super) fn renew(&self) {
        self.say(|outbox| outbox.full = true);
    }

    /// The agent's reports up to this one are committed.
    pub(super) fn taken(&self, sequence: u64) {
        self.say(|outbox| outbox.taken = outbox.taken.max(Some(sequence)));
    }

    /// Asks the agent for a stream; false if too many wait.
    pub(super) fn ask(&self, stream: OpenStream) -> bool {
        let mut outbox = self.outbox.lock();
        if outbox.streams.len() >= STREAMS {
            return false;
        }
        outbox.streams.push(stream);
        drop(outbox);
        self.wake.notify_one();
        true
    }
}

/// Where a session's messages go.
pub(super) type Outgoing = mpsc::Sender<Result<ControllerMessage, Status>>;

impl Term {
    /// Serves a session until one end ends it.
    ///
    /// # Errors
    /// What the agent is to be told at the end; `Ok` when it has gone, or has to go to another controller.
    pub async fn serve(
        self: &Arc<Self>,
        node: NodeId,
        hello: Hello,
        inbound: Streaming<AgentMessage>,
        outgoing: mpsc::Sender<Result<ControllerMessage, Status>>,
    ) -> Result<(), Status> {
        if hello.held.is_some_and(|held| held.term > self.number) {
            // There is a newer leader: this one has not been told yet.
            return Ok(());
        }
        let description = hello
            .description
            .ok_or_else(|| Status::invalid_argument("hello: has no description of the node"))?
            .try_into()?;
        if self.core.published.state().node(node).is_none() {
            return Err(removed(node));
        }
        let session = self.open(node);
        let result = self.converse(&session, description, inbound, &outgoing).await;
        self.close(&session);
        result
    }

    async fn converse(
        self: &Arc<Self>,
        session: &Arc<Session>,
        description: wharf_cluster::model::NodeDescription,
        inbound: Streaming<AgentMessage>,
        outgoing: &Outgoing,
    ) -> Result<(), Status> {
        let news = News { node: session.node, description };
        if self.nodes.send(news).await.is_err() {
            return Ok(());
        }
        tokio::select! {
            () = session.ended() => match session.ending.get() {
                None | Some(Ending::Deposed) => Ok(()),
                Some(Ending::Removed) => Err(removed(session.node)),
                Some(Ending::Replaced) => Err(Status::aborted("another session of this node has begun")),
                Some(Ending::Silent) => Err(Status::unavailable("no heartbeat came in time: begin a new session")),
            },
            read = self.read(session, inbound) => read,
            () = self.write(session, outgoing) => Ok(()),
        }
    }

    /// Takes what the agent says, until it says no more.
    async fn read(&self, session: &Arc<Session>, mut inbound: Streaming<AgentMessage>) -> Result<(), Status> {
        // A broken stream is an ended one: the agent comes back.
        while let Ok(Some(message)) = inbound.message().await {
            self.heard(session.node);
            let sent = match message.message {
                Some(agent_message::Message::Heartbeat(_)) => {
                    session.say(|outbox| outbox.heartbeat = true);
                    true
                }
                Some(agent_message::Message::Reports(said)) => {
                    if said.reports.len() > MAX_REPORTS {
                        return Err(Status::invalid_argument(format!(
                            "more than {MAX_REPORTS} reports at once"
                        )));
                    }
                    let reports = said
                        .reports
                        .into_iter()
                        .map(|report| report.checked(session.node))
                        .collect::<Result<_, _>>()?;
                    let session = session.clone();
                    self.reports.send(Reported { session, sequence: said.sequence, reports }).await.is_ok()
                }
                Some(agent_message::Message::Description(said)) => {
                    let news = News { node: session.node, description: said.try_into()? };
                    self.nodes.send(news).await.is_ok()
                }
                Some(agent_message::Message::Hello(_)) => {
                    return Err(Status::invalid_argument("hello: only begins a session"));
                }
                // Something of a newer agent, which an older controller doesn't know.
                None => true,
            };
            if !sent {
                // The term is over, and with it the session.
                session.ended().await;
            }
        }
        Ok(())
    }

    /// Says what is to be said, until the agent has gone.
    async fn write(&self, session: &Session, outgoing: &Outgoing) {
        let mut controllers = self.controllers.subscribe();
        let mut assignment = Assignment::new(session.node, self.number, session.number);
        let mut messages = vec![self.welcome(session), listed(&mut controllers)];
        loop {
            for message in messages.drain(..) {
                if outgoing.send(Ok(ControllerMessage { message: Some(message) })).await.is_err() {
                    return;
                }
            }
            let outbox = std::mem::take(&mut *session.outbox.lock());
            messages.extend(outbox.taken.map(|sequence| Message::ReportsTaken(ReportsTaken { sequence })));
            if outbox.heartbeat {
                messages.push(Message::HeartbeatTaken(HeartbeatTaken {}));
            }
            if outbox.full {
                let tasks: Vec<TaskId> = self.holdings.lock().of_node(session.node).collect();
                // Published before the holdings knew of it: never older than they are.
                let state = self.core.published.state();
                messages.push(Message::Full(assignment.full(&state, tasks)));
            } else if !outbox.changed.is_empty() {
                let state = self.core.published.state();
                messages.extend(assignment.difference(&state, outbox.changed).map(Message::Difference));
            }
            messages.extend(outbox.streams.into_iter().map(Message::OpenStream));
            if !messages.is_empty() {
                continue;
            }
            tokio::select! {
                () = session.wake.notified() => {}
                Ok(()) = controllers.changed() => messages.push(listed(&mut controllers)),
                () = outgoing.closed() => return,
            }
        }
    }

    fn welcome(&self, session: &Session) -> Message {
        // Spread, so that agents which came back together don't speak together for ever.
        let percent = u32::try_from((session.node.0 * 31 + session.number) % 21).unwrap_or(0) + 80;
        let heartbeat = self.heartbeat() * percent / 100;
        let name = self.core.published.state().node(session.node).map(|node| node.name.clone());
        Message::Welcome(Welcome {
            term: self.number,
            session: session.number,
            heartbeat: millis(heartbeat),
            ttl: millis(self.ttl()),
            node_id: session.node.to_string(),
            node_name: name.unwrap_or_default(),
        })
    }
}

fn listed(controllers: &mut tokio::sync::watch::Receiver<Vec<String>>) -> Message {
    Message::Controllers(Controllers { addresses: controllers.borrow_and_update().clone() })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn removed(node: NodeId) -> Status {
    Status::permission_denied(format!(
        "node {node} was removed from the cluster; empty its agent's data directory and join again with a token"
    ))
}
