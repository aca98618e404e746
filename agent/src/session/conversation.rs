//! What is said in one session.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use wharf_proto::v1::agent_api_client::AgentApiClient;
use wharf_proto::v1::{
    AgentMessage, ControllerMessage, Generation, Hello, TaskReports, Welcome, agent_message,
    controller_message,
};

use super::order::Place;
use super::pulse::Pulse;
use super::{ANSWER, End, Session};
use crate::worker::Change;

/// Messages that wait to be sent.
const QUEUE: usize = 16;
/// Most reports in one message.
const REPORTS: usize = 1000;
/// How long heartbeats go on while a message is acted on.
const BUSY: Duration = Duration::from_secs(60);

/// One session.
struct Conversation<'a> {
    session: &'a Session,
    client: AgentApiClient<Channel>,
    place: Place,
    /// What the controller calls this node.
    node: String,
    to_controller: mpsc::Sender<AgentMessage>,
    /// Number of the last reports that were sent, and whether they are taken.
    reported: u64,
    taken: bool,
}

impl Session {
    /// Speaks with a controller until the session ends.
    pub(super) async fn converse(
        &self,
        mut client: AgentApiClient<Channel>,
        begun: &mut bool,
    ) -> Result<Infallible, End> {
        let (to_controller, queue) = mpsc::channel(QUEUE);
        let held = self.worker.held();
        let hello = Hello {
            description: Some(self.description.clone()),
            held: (held != Generation::default()).then_some(held),
        };
        send(&to_controller, agent_message::Message::Hello(hello)).await?;
        let late =
            || End::Refused { code: Code::DeadlineExceeded, message: "it doesn't answer in time".into() };
        let call = client.session(ReceiverStream::new(queue));
        let mut inbound = timeout(ANSWER, call).await.map_err(|_| late())??.into_inner();
        let welcome = timeout(ANSWER, welcomed(&mut inbound)).await.map_err(|_| late())??;
        let place = Place::begin(welcome.term, welcome.session, &held)?;
        *begun = true;
        tracing::info!(term = welcome.term, session = welcome.session, node = welcome.node_name, "session");
        // Of what was told in an earlier session, nothing need have arrived.
        self.reports.renew();
        let node = welcome.node_name.clone();
        let conversation =
            Conversation { session: self, client, place, node, to_controller, reported: 0, taken: true };
        conversation.hold(inbound, &welcome).await
    }
}

/// The controller's first word, when it is the leader's.
async fn welcomed(inbound: &mut Streaming<ControllerMessage>) -> Result<Welcome, End> {
    use controller_message::Message;
    match inbound.message().await?.ok_or(End::Closed)?.message {
        Some(Message::Welcome(welcome)) => Ok(welcome),
        Some(Message::Redirect(redirect)) => Err(End::Redirected(redirect.leader)),
        _ => Err(End::Protocol("a session that doesn't begin with a welcome")),
    }
}

async fn send(to: &mpsc::Sender<AgentMessage>, message: agent_message::Message) -> Result<(), End> {
    to.send(AgentMessage { message: Some(message) }).await.map_err(|_| End::Closed)
}

impl Conversation<'_> {
    async fn hold(
        mut self,
        mut inbound: Streaming<ControllerMessage>,
        welcome: &Welcome,
    ) -> Result<Infallible, End> {
        let mut pulse = Pulse::new(welcome.heartbeat, welcome.ttl);
        let mut heard = Instant::now();
        loop {
            let patience = pulse.patience;
            tokio::select! {
                message = inbound.message() => {
                    let message = message?.ok_or(End::Closed)?.message;
                    if let Some(controller_message::Message::Pace(pace)) = &message {
                        pulse = Pulse::new(pace.heartbeat, pace.ttl);
                    }
                    self.act(message, &mut pulse).await?;
                    // Acting on it may have taken a while.
                    heard = Instant::now();
                }
                reports = self.session.reports.take(REPORTS), if self.taken => {
                    self.reported += 1;
                    self.taken = false;
                    let message = TaskReports { sequence: self.reported, reports };
                    send(&self.to_controller, agent_message::Message::Reports(message)).await?;
                }
                () = pulse.tick() => send(&self.to_controller, pulse.beat(&self.place)).await?,
                () = sleep_until(heard + patience) => return Err(End::Silent(patience)),
            }
        }
    }

    /// Acts on a message. Meanwhile heartbeats go on, for a while: a node whose disk is slow is not lost, and one whose
    /// disk hangs is.
    async fn act(
        &mut self,
        message: Option<controller_message::Message>,
        pulse: &mut Pulse,
    ) -> Result<(), End> {
        let (to_controller, beat) = (self.to_controller.clone(), pulse.beat(&self.place));
        let mut acting = pin!(self.hear(message));
        let busy_until = Instant::now() + BUSY;
        loop {
            tokio::select! {
                biased;
                done = &mut acting => return done,
                () = pulse.tick(), if Instant::now() < busy_until => {
                    // If there is no room, what waits there says the same.
                    let _ = to_controller.try_send(AgentMessage { message: Some(beat.clone()) });
                }
            }
        }
    }

    async fn hear(&mut self, message: Option<controller_message::Message>) -> Result<(), End> {
        use controller_message::Message;
        let worker = &self.session.worker;
        match message {
            Some(Message::Full(full)) => {
                let generation = self.place.full(full.generation)?;
                let change = Change { generation, full: true, tasks: full.tasks, removed: Vec::new() };
                worker.assign(change).await?;
            }
            Some(Message::Difference(difference)) => {
                let generation = self.place.difference(difference.generation)?;
                // An id that means nothing to us is of a task that isn't here.
                let removed = difference.removed.iter().filter_map(|id| id.parse().ok()).collect();
                worker.assign(Change { generation, full: false, tasks: difference.tasks, removed }).await?;
            }
            Some(Message::ReportsTaken(taken)) => self.taken = taken.sequence >= self.reported,
            Some(Message::OpenStream(open)) => {
                self.session.logs.answer(self.client.clone(), self.node.clone(), open);
            }
            Some(Message::Controllers(controllers)) if !controllers.addresses.is_empty() => {
                self.session.dialer.set_addresses(controllers.addresses.clone());
                if let Err(error) = self.session.store.set_controllers(&controllers.addresses) {
                    tracing::warn!(%error, "can't keep the controllers' addresses");
                }
            }
            Some(Message::Redirect(redirect)) => return Err(End::Redirected(redirect.leader)),
            Some(Message::Welcome(_)) => return Err(End::Protocol("a second welcome")),
            // The last may be something of a newer controller.
            Some(Message::Controllers(_) | Message::HeartbeatTaken(_) | Message::Pace(_)) | None => {}
        }
        Ok(())
    }
}
