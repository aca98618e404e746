//! The two directions of a session's stream.

use super::{
    super::decide::dispatch::{Ending, Refusal, SessionKey},
    term::{Session, Term},
};
use std::{pin::pin, time::Duration};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use wharf_cluster::ids::NodeId;
use wharf_proto::v1::{AgentMessage, ControllerMessage, Hello, agent_message::Message};

/// Where a session's messages go.
pub(super) type Outgoing = mpsc::Sender<Result<ControllerMessage, Status>>;

/// How often an agent that has to wait is noted as being there.
const WAIT: Duration = Duration::from_millis(200);

impl Term {
    /// Serves a session until one end ends it.
    ///
    /// # Errors
    /// What the agent is to be told at the end; `Ok` when it has gone, or has to go to another controller.
    pub async fn serve(
        &self,
        node: NodeId,
        hello: Hello,
        inbound: Streaming<AgentMessage>,
        outgoing: mpsc::Sender<Result<ControllerMessage, Status>>,
    ) -> Result<(), Status> {
        let opened = self.with(|dispatch, state, now| {
            let key = dispatch.open(node, hello, state, now)?;
            Ok((key, self.begin(key)))
        });
        let (key, session) = match opened {
            Ok(opened) => opened,
            Err(refusal) => return refused(&refusal),
        };
        let result = tokio::select! {
            why = session.ended() => match why {
                Ending::Deposed => Ok(()),
                Ending::Removed => refused(&Refusal::Removed(node)),
                Ending::Replaced => Err(Status::aborted("another session of this node has begun")),
                Ending::Silent => Err(Status::unavailable("no heartbeat came in time: begin a new session")),
            },
            read = self.read(key, inbound) => read.or_else(|refusal| refused(&refusal)),
            () = self.write(key, &session, &outgoing) => Ok(()),
        };
        self.close(key);
        result
    }

    /// Takes what the agent says, until it says no more.
    async fn read(&self, key: SessionKey, mut inbound: Streaming<AgentMessage>) -> Result<(), Refusal> {
        // A broken stream is an ended one: the agent comes back.
        while let Ok(Some(message)) = inbound.message().await {
            // One without content is something of a newer agent, which an older controller doesn't know.
            let Some(message) = message.message else {
                self.with(|dispatch, _, now| dispatch.heard(key, now));
                continue;
            };
            if matches!(message, Message::Reports(_)) {
                self.wait_for_room(key).await;
            }
            self.with(|dispatch, _, now| dispatch.hear(key, message, now))?;
        }
        Ok(())
    }

    /// Waits until reports can be taken. That is this controller's time, not the agent's silence.
    async fn wait_for_room(&self, key: SessionKey) {
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            let has_room = self.with(|dispatch, _, now| {
                dispatch.heard(key, now);
                dispatch.has_room()
            });
            if has_room {
                return;
            }
            // Late or soon, it is looked at again.
            let _ = tokio::time::timeout(WAIT, room).await;
        }
    }

    /// Says what is to be said, until the agent has gone.
    async fn write(&self, key: SessionKey, session: &Session, outgoing: &Outgoing) {
        loop {
            let messages = self.with(|dispatch, state, _| dispatch.outgoing(key, state));
            let is_idle = messages.is_empty();
            for message in messages {
                if outgoing.send(Ok(ControllerMessage { message: Some(message) })).await.is_err() {
                    return;
                }
            }
            if is_idle {
                tokio::select! {
                    () = session.wake.notified() => {}
                    () = outgoing.closed() => return,
                }
            }
        }
    }
}

fn refused(refusal: &Refusal) -> Result<(), Status> {
    match refusal {
        Refusal::Deposed => Ok(()),
        Refusal::Removed(_) => Err(Status::permission_denied(refusal.to_string())),
        Refusal::Invalid(_) => Err(Status::invalid_argument(refusal.to_string())),
    }
}
