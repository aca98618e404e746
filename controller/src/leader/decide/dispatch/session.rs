//! One agent's session: what is to be said to it, kept until it can be.

use super::{assignment::Assignment, holdings::Holdings};
use std::{collections::BTreeSet, time::Duration};
use wharf_cluster::{
    ids::{NodeId, TaskId},
    state::State,
};
use wharf_proto::v1::{
    Controllers, HeartbeatTaken, OpenStream, Pace, ReportsTaken, Welcome, controller_message::Message,
};

/// Streams that may wait to be asked for.
const STREAMS: usize = 256;

/// Names a session: a node's, and which of those it has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The node.
    pub node: NodeId,
    /// Counts up over all sessions of a term.
    pub number: u64,
}

/// What is to be said. Later things take the place of earlier ones, so that an agent that is slow to read costs nothing.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) welcome: bool,
    pub(super) pace: bool,
    pub(super) controllers: bool,
    pub(super) taken: Option<u64>,
    pub(super) heartbeat: bool,
    pub(super) full: bool,
    pub(super) changed: BTreeSet<TaskId>,
    streams: Vec<OpenStream>,
}

impl Outbox {
    /// Asks the agent for a stream; false if too many wait.
    pub(super) fn ask(&mut self, stream: OpenStream) -> bool {
        let room = self.streams.len() < STREAMS;
        if room {
            self.streams.push(stream);
        }
        room
    }
}

/// What sessions tell, besides their own things.
pub(super) struct Told<'a> {
    pub(super) term: u64,
    pub(super) heartbeat: Duration,
    pub(super) ttl: Duration,
    pub(super) controllers: &'a [String],
    pub(super) holdings: &'a Holdings,
    pub(super) state: &'a State,
}

/// One agent's session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) key: SessionKey,
    pub(super) outbox: Outbox,
    /// How often the agent says that it sends heartbeats; 0 if it doesn't say.
    pub(super) interval: Duration,
    assignment: Assignment,
}

impl Session {
    pub(super) fn new(key: SessionKey, term: u64) -> Self {
        let outbox = Outbox { welcome: true, controllers: true, full: true, ..Outbox::default() };
        Session {
            key,
            outbox,
            interval: Duration::ZERO,
            assignment: Assignment::new(key.node, term, key.number),
        }
    }

    /// What is to be said now; it is off the outbox then.
    pub(super) fn outgoing(&mut self, told: &Told<'_>) -> Vec<Message> {
        let outbox = std::mem::take(&mut self.outbox);
        let mut messages = Vec::new();
        if outbox.welcome {
            messages.push(Message::Welcome(self.welcome(told)));
        } else if outbox.pace {
            let heartbeat = millis(self.spread(told.heartbeat));
            messages.push(Message::Pace(Pace { heartbeat, ttl: millis(told.ttl) }));
        }
        if outbox.controllers {
            messages.push(Message::Controllers(Controllers { addresses: told.controllers.to_vec() }));
        }
        messages.extend(outbox.taken.map(|sequence| Message::ReportsTaken(ReportsTaken { sequence })));
        if outbox.heartbeat {
            messages.push(Message::HeartbeatTaken(HeartbeatTaken {}));
        }
        if outbox.full {
            let tasks = told.holdings.of_node(self.key.node);
            messages.push(Message::Full(self.assignment.full(told.state, tasks)));
        } else if !outbox.changed.is_empty() {
            let difference = self.assignment.difference(told.state, outbox.changed);
            messages.extend(difference.map(Message::Difference));
        }
        messages.extend(outbox.streams.into_iter().map(Message::OpenStream));
        messages
    }

    fn welcome(&self, told: &Told<'_>) -> Welcome {
        let SessionKey { node, number } = self.key;
        let name = told.state.node(node).map(|node| node.name.clone());
        Welcome {
            term: told.term,
            session: number,
            heartbeat: millis(self.spread(told.heartbeat)),
            ttl: millis(told.ttl),
            node_id: node.to_string(),
            node_name: name.unwrap_or_default(),
        }
    }

    /// Agents that came back together should not speak together for ever: between 80 and 100 % of it.
    fn spread(&self, heartbeat: Duration) -> Duration {
        let SessionKey { node, number } = self.key;
        let percent = node.0.wrapping_mul(31).wrapping_add(number) % 21 + 80;
        heartbeat * u32::try_from(percent).unwrap_or(100) / 100
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
