//! What happened lately, in words for people: the newest few thousand events.

use super::State;
use crate::{
    event::{Event, NewRollout},
    ids::Timestamp,
    model::{Controller, TaskState},
};
use imbl::Vector;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How many records are kept.
const KEPT: usize = 4096;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counts up by one; a gap means that older records are gone.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// Kind of the thing it happened to: `stack`, `service`, `task`, `node`, `controller`, `cluster`.
    pub kind: Arc<str>,
    /// Its name, for example `shop/web.3`.
    pub name: Arc<str>,
    /// What happened, one word or a few: `created`, `failed`.
    pub action: Arc<str>,
    /// More, if there is more to say.
    pub message: Arc<str>,
}

/// The newest records, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct History {
    records: Vector<Record>,
    next: u64,
}

impl History {
    pub(super) fn records(&self) -> &Vector<Record> {
        &self.records
    }

    /// Takes back a record that was written down, after all older ones.
    pub(super) fn restore(&mut self, record: Record) {
        self.next = record.sequence + 1;
        self.records.push_back(record);
    }

    pub(super) fn push(&mut self, at: Timestamp, words: Words) {
        let Words { kind, name, action, message } = words;
        let record = Record {
            sequence: self.next,
            at,
            kind: kind.into(),
            name: name.into(),
            action: action.into(),
            message: message.into(),
        };
        self.next += 1;
        self.records.push_back(record);
        if self.records.len() > KEPT {
            self.records.pop_front();
        }
    }
}

/// What a record says.
pub(super) struct Words {
    kind: &'static str,
    name: String,
    action: String,
    message: String,
}

impl Words {
    pub(super) fn about(kind: &'static str, name: String, action: &str, message: &str) -> Self {
        Words { kind, name, action: action.to_owned(), message: message.to_owned() }
    }
}

/// What `event` means to people; `None` if nothing. `state` is the one before the event.
pub(super) fn words(state: &State, event: &Event) -> Option<Words> {
    let say = |kind, name, action: &str, message: &str| Some(Words::about(kind, name, action, message));
    let service = |id| state.service(id).map_or_else(String::new, |service| service.name.to_string());
    let node = |id| state.node(id).map_or_else(String::new, |node| node.name.clone());
    let task = |id| state.task(id).map_or_else(String::new, |task| state.task_name(task));
    match event {
        Event::ClusterInitialized { info } => say("cluster", info.id.clone(), "created", ""),
        Event::TokenRotated { role, .. } => say("cluster", format!("{role} token"), "rotated", ""),
        Event::LevelRaised { level } => {
            say("cluster", format!("level {level}"), "reached", "every controller knows it")
        }
        Event::ControllerRecorded { controller } => controller_words(state, controller),
        Event::ControllerRemoved { controller } => {
            let name = state.controller(*controller).map_or_else(String::new, |known| known.name.clone());
            say("controller", name, "removed", "")
        }
        Event::StackUpdated { stack, .. } => {
            let action = if state.stack(stack).is_some() { "updated" } else { "created" };
            say("stack", stack.to_string(), action, "")
        }
        Event::StackRemoved { stack } => say("stack", stack.to_string(), "removed", ""),
        Event::ServiceCreated { name, .. } => say("service", name.to_string(), "created", ""),
        Event::ServiceUpdated { id, rollout, .. } => match rollout {
            Some(NewRollout::Update) => {
                say("service", service(*id), "updated", "its tasks are being replaced")
            }
            Some(NewRollout::Rollback) => {
                say("service", service(*id), "rolled back", "its older template comes back")
            }
            None => say("service", service(*id), "updated", ""),
        },
        Event::ServiceRemoving { id } => say("service", service(*id), "removing", ""),
        Event::ServiceRemoved { id } => say("service", service(*id), "removed", ""),
        Event::RolloutChanged { id, rollout } => {
            say("service", service(*id), &format!("rollout {}", rollout.state), &rollout.message)
        }
        Event::UnplacedExplained { id, reason: Some(reason), .. } => {
            say("service", service(*id), "unplaced", reason)
        }
        Event::NodeRegistered { node } => say("node", node.name.clone(), "joined", &node.description.address),
        Event::NodeRemoved { node: id } => say("node", node(*id), "removed", ""),
        Event::NodeStateChanged { node: id, state, message } => {
            say("node", node(*id), &state.to_string(), message)
        }
        Event::AvailabilityChanged { node: id, availability } => {
            say("node", node(*id), &availability.to_string(), "")
        }
        Event::NodeLabelled { node: id, .. } => say("node", node(*id), "labelled", ""),
        Event::TaskPlaced { id, node: on } => say("task", task(*id), "assigned", &node(*on)),
        Event::TaskReported { report } if report.state >= TaskState::Running => {
            say("task", task(report.task), report.state.name(), &report.message)
        }
        Event::TaskEnded { id, orphaned: true, message } => say("task", task(*id), "orphaned", message),
        Event::NodeDescribed { .. }
        | Event::UnplacedExplained { reason: None, .. }
        | Event::TaskCreated { .. }
        | Event::TaskPending { .. }
        | Event::TaskDesired { .. }
        | Event::TaskReported { .. }
        | Event::TaskEnded { .. }
        | Event::TaskRemoved { .. } => None,
    }
}

fn controller_words(state: &State, now: &Controller) -> Option<Words> {
    let votes = state.controller(now.id).map(|before| before.votes);
    let action = match (votes, now.votes) {
        (Some(true), false) => "demoted",
        (Some(false), true) => "promoted",
        _ => "recorded",
    };
    Some(Words {
        kind: "controller",
        name: now.name.clone(),
        action: action.to_owned(),
        message: now.address.clone(),
    })
}
