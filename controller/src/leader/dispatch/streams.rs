//! Streams that agents open because they were asked to in their session: nobody dials agents.

use super::{super::decide::dispatch::Unasked, term::Term};
use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use std::{collections::HashMap, time::Duration};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming};
use wharf_cluster::ids::NodeId;
use wharf_proto::v1::{OpenStream, StreamData, open_stream::What};

/// How long an agent has to open a stream.
const PATIENCE: Duration = Duration::from_secs(5);

/// A stream that an agent has opened. It ends when this is dropped.
pub struct Answer {
    /// What the agent sends.
    pub inbound: Streaming<StreamData>,
    /// What is sent to the agent.
    pub outbound: mpsc::Sender<Result<StreamData, Status>>,
}

/// Why there is no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AskError {
    /// The agent isn't there.
    #[error("its agent has no session")]
    NoSession,
    /// Too much is asked of the agent already.
    #[error("its agent is asked for too many streams already")]
    Busy,
    /// The agent is there, and doesn't do it.
    #[error("its agent did not answer within {} s", PATIENCE.as_secs())]
    NoAnswer,
    /// No id could be made.
    #[error("this controller has no randomness")]
    NoRandomness,
}

struct Waiting {
    node: NodeId,
    give: oneshot::Sender<Answer>,
}

/// Streams that are asked for and not opened yet.
#[derive(Default)]
pub(super) struct Streams {
    waiting: Mutex<HashMap<String, Waiting>>,
}

impl Term {
    /// Asks a node's agent for a stream, and waits until it is open.
    ///
    /// # Errors
    /// When the agent isn't there, or doesn't do it in time.
    pub async fn ask(&self, node: NodeId, what: What) -> Result<Answer, AskError> {
        let stream_id = random_id()?;
        let (give, given) = oneshot::channel();
        self.streams.waiting.lock().insert(stream_id.clone(), Waiting { node, give });
        let forget = Forget { streams: &self.streams, stream_id: &stream_id };
        let stream = OpenStream { stream_id: stream_id.clone(), what: Some(what) };
        let key = self.with(|dispatch, _, _| dispatch.ask(node, stream)).map_err(|why| match why {
            Unasked::NoSession => AskError::NoSession,
            Unasked::Busy => AskError::Busy,
        })?;
        let session = self.session(key).ok_or(AskError::NoSession)?;
        let answer = tokio::select! {
            answer = tokio::time::timeout(PATIENCE, given) => answer,
            _ = session.ended() => return Err(AskError::NoSession),
        };
        drop(forget);
        answer.ok().and_then(Result::ok).ok_or(AskError::NoAnswer)
    }

    /// An agent has opened a stream.
    ///
    /// # Errors
    /// When it was not asked for, or is not waited for any more.
    pub fn answered(&self, node: NodeId, stream_id: &str, answer: Answer) -> Result<(), Status> {
        let gone = || Status::not_found("nobody waits for this stream");
        let mut waiting = self.streams.waiting.lock();
        // Another node's stream stays where it is.
        if waiting.get(stream_id).is_none_or(|asked| asked.node != node) {
            return Err(gone());
        }
        let asked = waiting.remove(stream_id).ok_or_else(gone)?;
        asked.give.send(answer).map_err(|_| gone())
    }
}

/// Takes back what was asked for, however waiting ends.
struct Forget<'a> {
    streams: &'a Streams,
    stream_id: &'a str,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.streams.waiting.lock().remove(self.stream_id);
    }
}

fn random_id() -> Result<String, AskError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| AskError::NoRandomness)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
