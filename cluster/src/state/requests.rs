//! Answers to clients' requests, kept for a while, so that a write retried after a broken connection happens once.

use super::{State, plan::Rejected};
use crate::{
    command::Command,
    event::Event,
    ids::{ControllerId, NodeId, RequestId, Timestamp},
};
use imbl::{OrdMap, Vector};
use serde::{Deserialize, Serialize};

/// How many answers are kept.
const KEPT: usize = 16_384;
/// How long an answer is kept, in milliseconds: far longer than any client retries.
const KEPT_FOR: u64 = 15 * 60 * 1000;

/// What came of a command.
pub type Outcome = Result<Reply, Rejected>;

/// What an accepted command says to the one who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Done,
    /// The stack has this version now.
    Version(u64),
    /// The node got this id.
    Node(NodeId),
    /// The controller got this id.
    Controller(ControllerId),
}

impl Reply {
    /// The reply to `command`, which did `events`; `state` is the one after them.
    pub(super) fn of(state: &State, command: &Command, events: &[Event]) -> Reply {
        let stack = match command {
            Command::ApplyStack { spec, .. } => Some(spec.name.as_str()),
            Command::RestartService { service } | Command::UndoRollout { service, .. } => {
                Some(&*service.stack)
            }
            Command::ScaleServices { replicas } => replicas.first().map(|(name, _)| &*name.stack),
            _ => None,
        };
        if let Some(stack) = stack {
            return Reply::Version(state.stack(stack).map_or(0, |stack| stack.version));
        }
        for event in events {
            match event {
                Event::NodeRegistered { node } => return Reply::Node(node.id),
                Event::ControllerRecorded { controller } => return Reply::Controller(controller.id),
                _ => {}
            }
        }
        Reply::Done
    }
}

/// The answers kept, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vector<(RequestId, Timestamp, Outcome)>", into = "Vector<(RequestId, Timestamp, Outcome)>")]
pub(super) struct Requests {
    answers: OrdMap<RequestId, (Timestamp, Outcome)>,
    order: Vector<RequestId>,
}

impl Requests {
    pub(super) fn answer(&self, request: RequestId) -> Option<&Outcome> {
        self.answers.get(&request).map(|(_, outcome)| outcome)
    }

    pub(super) fn record(&mut self, request: RequestId, now: Timestamp, outcome: Outcome) {
        if self.answers.insert(request, (now, outcome)).is_none() {
            self.order.push_back(request);
        }
        while let Some(oldest) = self.order.front() {
            let expired = self.answers.get(oldest).is_none_or(|(at, _)| now.since(*at) > KEPT_FOR);
            if self.order.len() <= KEPT && !expired {
                break;
            }
            self.answers.remove(oldest);
            self.order.pop_front();
        }
    }
}

impl From<Vector<(RequestId, Timestamp, Outcome)>> for Requests {
    fn from(stored: Vector<(RequestId, Timestamp, Outcome)>) -> Self {
        let order = stored.iter().map(|(request, ..)| *request).collect();
        let answers = stored.into_iter().map(|(request, at, outcome)| (request, (at, outcome))).collect();
        Requests { answers, order }
    }
}

impl From<Requests> for Vector<(RequestId, Timestamp, Outcome)> {
    fn from(requests: Requests) -> Self {
        let Requests { answers, order } = requests;
        order
            .into_iter()
            .filter_map(|request| answers.get(&request).map(|(at, outcome)| (request, *at, outcome.clone())))
            .collect()
    }
}
