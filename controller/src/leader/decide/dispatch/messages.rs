//! What agents say: checked, and taken in.

use super::{Dispatch, Ending, Session, SessionKey};
use std::time::Duration;
use thiserror::Error;
use wharf_cluster::{ids::NodeId, model::NodeDescription, state::State};
use wharf_proto::{
    convert::Invalid,
    v1::{Heartbeat, Hello, TaskReports, agent_message::Message},
};

/// Reports taken in one message.
const MOST_REPORTS: usize = 10_000;
/// No agent is waited for as if it sent heartbeats less often.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// Why an agent is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The agent has followed a newer leader, or this one's time is over: it is to look for another controller.
    #[error("this controller leads no longer")]
    Deposed,
    /// The node is not in the cluster.
    #[error(
        "node {0} was removed from the cluster, or joined after the backup that the cluster was restored from; empty its \
         agent's data directory (wharf-agent reset --yes) and join again with a token"
    )]
    Removed(NodeId),
    /// The message makes no sense.
    #[error("{0}")]
    Invalid(String),
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Refusal::Invalid(invalid.to_string())
    }
}

impl Dispatch {
    /// Begins a session of a node, with the first thing that its agent says; another one that it has ends.
    ///
    /// # Errors
    /// When the agent can't have a session here.
    pub fn open(
        &mut self,
        node: NodeId,
        hello: Hello,
        state: &State,
        now: Duration,
    ) -> Result<SessionKey, Refusal> {
        if self.is_over || hello.held.is_some_and(|held| held.term > self.term) {
            return Err(Refusal::Deposed);
        }
        let missing = || Refusal::Invalid("hello: has no description of the node".to_owned());
        let description: NodeDescription = hello.description.ok_or_else(missing)?.try_into()?;
        if state.node(node).is_none() {
            return Err(Refusal::Removed(node));
        }
        self.end_session(node, Ending::Replaced);
        self.numbers += 1;
        let key = SessionKey { node, number: self.numbers };
        self.sessions.insert(node, Session::new(key, self.term));
        self.awake.insert(node);
        self.news.describes(node, description);
        self.heard(key, now);
        Ok(key)
    }

    /// A session's agent is there: it said something, or this controller is not ready to listen to it. Nothing, if the
    /// session has ended.
    pub fn heard(&mut self, session: SessionKey, now: Duration) {
        let Some(open) = self.sessions.get(&session.node).filter(|open| open.key == session) else { return };
        // One that has not learned of a shorter period yet may be silent for longer.
        let patience = self.ttl().max(open.interval.saturating_mul(self.timings.missed));
        if self.verdicts.heard(session.node, now, patience) {
            self.news.answers(session.node);
        }
    }

    /// Whether [`Dispatch::hear`] should be called with reports now; else they should wait until some were applied.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.reports.has_room()
    }

    /// Takes what a session's agent says. Nothing, if the session has ended.
    ///
    /// # Errors
    /// When it makes no sense: the session is to be closed.
    pub fn hear(&mut self, session: SessionKey, message: Message, now: Duration) -> Result<(), Refusal> {
        if !self.is_open(session) {
            return Ok(());
        }
        match message {
            Message::Heartbeat(beat) => self.take_heartbeat(session.node, &beat),
            Message::Reports(said) => self.take_reports(session, said)?,
            Message::Description(said) => self.news.describes(session.node, said.try_into()?),
            Message::Hello(_) => return Err(Refusal::Invalid("hello: only begins a session".to_owned())),
        }
        self.heard(session, now);
        Ok(())
    }

    fn take_heartbeat(&mut self, node: NodeId, beat: &Heartbeat) {
        if let Some(session) = self.sessions.get_mut(&node) {
            session.interval = Duration::from_millis(beat.interval).min(LONGEST_INTERVAL);
            session.outbox.heartbeat = true;
            self.awake.insert(node);
        }
    }

    fn take_reports(&mut self, session: SessionKey, said: TaskReports) -> Result<(), Refusal> {
        if said.reports.len() > MOST_REPORTS {
            return Err(Refusal::Invalid(format!("more than {MOST_REPORTS} reports at once")));
        }
        let checked = said.reports.into_iter().map(|report| report.checked(session.node));
        let reports = checked.collect::<Result<_, Invalid>>()?;
        self.reports.push(session, said.sequence, reports);
        Ok(())
    }
}
