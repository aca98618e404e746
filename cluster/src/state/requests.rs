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
#[derive(Clone, Debug, Default, PartialEq)]
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

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The answers, oldest first.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (RequestId, Timestamp, &Outcome)> {
        self.order.iter().map(|request| {
            let (at, outcome) = self.answers.get(request).expect("every request in the order has an answer");
            (*request, *at, outcome)
        })
    }
}
