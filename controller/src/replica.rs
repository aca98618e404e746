//! The cluster's state as Raft's state machine: commands are decoded, executed, and what came of them is published.
//!
//! Readers get the state of the last applied batch as a pointer, without waiting for anything. Whoever has to act on
//! what happens subscribes to the events; one that falls behind is told so and looks at the whole state instead.

use crate::raft::{
    ApplyError, ConfState, MemberChange, RestoreError, SnapshotDecoder, SnapshotEncoder, StateMachine,
};
use parking_lot::RwLock;
use std::sync::Arc;
use tokio::sync::broadcast::{self, error::RecvError};
use wharf_cluster::{
    event::Event,
    level::Level,
    planted::{self, Bug},
    state::{Outcome, State},
};
use wharf_proto::codec::{decode_command, decode_snapshot, encode_snapshot};

/// Batches that a subscriber may be behind.
const SUBSCRIBER_QUEUE: usize = 512;

/// The state at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The last log index that it reflects.
    pub index: u64,
    /// The state.
    pub state: Arc<State>,
}

/// What became of a run of commands.
#[derive(Debug)]
pub struct Batch {
    /// The last log index of the run.
    pub index: u64,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// What a subscriber learns.
#[derive(Debug, Clone)]
pub enum Change {
    /// This happened.
    Batch(Arc<Batch>),
    /// Too much happened to tell, or the state was restored from a snapshot: anything may be different.
    Everything,
}

/// Where the state and its changes are found.
#[derive(Debug)]
pub struct Published {
    view: RwLock<View>,
    changes: broadcast::Sender<Change>,
}

impl Published {
    /// The state of the last applied batch.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.read().clone()
    }

    /// The state of the last applied batch.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.view.read().state.clone()
    }

    /// What happens from now on. A view taken after this call misses nothing that is not told.
    #[must_use]
    pub fn subscribe(&self) -> Changes {
        Changes { receiver: self.changes.subscribe() }
    }

    fn publish(&self, view: View, change: Change) {
        let before = std::mem::replace(&mut *self.view.write(), view);
        // Not while readers wait: what only the old state held is freed here.
        drop(before);
        // Nobody listens on a follower without watchers.
        let _ = self.changes.send(change);
    }
}

/// A subscription to changes.
#[derive(Debug)]
pub struct Changes {
    receiver: broadcast::Receiver<Change>,
}

impl Changes {
    /// The next change. The published state reflects it, or is newer. `None` when the replica is gone.
    pub async fn next(&mut self) -> Option<Change> {
        match self.receiver.recv().await {
            Ok(change) => Some(change),
            Err(RecvError::Lagged(_)) => Some(Change::Everything),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next change if there is one already.
    pub fn try_next(&mut self) -> Option<Change> {
        match self.receiver.try_recv() {
            Ok(change) => Some(change),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Some(Change::Everything),
            Err(_) => None,
        }
    }
}

/// The state machine.
#[derive(Debug)]
pub struct Replica {
    known: Level,
    state: State,
    events: Vec<Event>,
    restored: bool,
    published: Arc<Published>,
}

impl Replica {
    /// An empty replica that knows no more than this level, and where it publishes.
    #[must_use]
    pub fn new(known: Level) -> (Self, Arc<Published>) {
        let (changes, _) = broadcast::channel(SUBSCRIBER_QUEUE);
        let published = Arc::new(Published { view: RwLock::default(), changes });
        let replica = Replica {
            known,
            state: State::default(),
            events: Vec::new(),
            restored: false,
            published: published.clone(),
        };
        (replica, published)
    }
}

impl StateMachine for Replica {
    type Output = Outcome;
    type Restored = State;

    fn apply(&mut self, _index: u64, _term: u64, command: &[u8]) -> Result<Outcome, ApplyError> {
        // It is committed, and the others apply it: to go on without it would make this replica another one than they
        // are.
        let mut envelope =
            decode_command(command, self.known).map_err(|error| ApplyError(error.to_string()))?;
        if planted::is(Bug::OwnTime) {
            envelope.at = envelope.at.plus(self.events.len() as u64);
        }
        let (outcome, events) = self.state.execute(&envelope);
        self.events.extend(events);
        Ok(outcome)
    }

    fn applied_batch(&mut self, applied: u64) {
        let view = View { index: applied, state: Arc::new(self.state.clone()) };
        let events = std::mem::take(&mut self.events);
        let change = if std::mem::take(&mut self.restored) {
            Change::Everything
        } else {
            Change::Batch(Arc::new(Batch { index: applied, events }))
        };
        self.published.publish(view, change);
    }

    /// Members are reached through the table of controllers, which is part of the state: nothing to do.
    fn membership_changed(&mut self, _index: u64, _members: &ConfState, _changed: &[MemberChange]) {}

    fn snapshot(&self) -> SnapshotEncoder {
        let state = self.state.clone();
        Box::new(move |to| encode_snapshot(&state, to))
    }

    fn decoder(&self) -> SnapshotDecoder<State> {
        let known = self.known;
        Box::new(move |from| decode_snapshot(from, known).map_err(|error| RestoreError(error.to_string())))
    }

    fn restore(&mut self, index: u64, state: State) {
        let before = (std::mem::replace(&mut self.state, state), self.published.view());
        self.events.clear();
        self.restored = true;
        self.applied_batch(index);
        // To free a large state takes as long as an election: not here.
        let _ = std::thread::Builder::new().name("free-state".to_owned()).spawn(move || drop(before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_cluster::{
        command::{Command, Envelope},
        ids::Timestamp,
        model::NodeDescription,
    };
    use wharf_proto::codec::encode_command;

    fn register(hostname: &str) -> Vec<u8> {
        let description = NodeDescription { hostname: hostname.to_owned(), ..NodeDescription::default() };
        let command = Command::RegisterNode { description };
        encode_command(&Envelope { at: Timestamp(1), request: None, command })
    }

    #[tokio::test]
    async fn what_is_applied_is_published_and_told() {
        let (mut replica, published) = Replica::new(Level::NEWEST);
        let mut changes = published.subscribe();
        replica.apply(1, 1, &register("one")).unwrap().unwrap();
        replica.apply(2, 1, &register("two")).unwrap().unwrap();
        assert_eq!(published.view().index, 0);
        replica.applied_batch(2);
        assert_eq!(published.view().index, 2);
        assert_eq!(published.state().nodes().count(), 2);
        let Some(Change::Batch(batch)) = changes.next().await else { panic!("no batch") };
        assert_eq!((batch.index, batch.events.len()), (2, 2));
    }

    #[tokio::test]
    async fn a_subscriber_that_falls_behind_is_told_so() {
        let (mut replica, published) = Replica::new(Level::NEWEST);
        let mut changes = published.subscribe();
        for index in 0..SUBSCRIBER_QUEUE as u64 + 10 {
            replica.applied_batch(index);
        }
        assert!(matches!(changes.next().await, Some(Change::Everything)));
        assert!(matches!(changes.next().await, Some(Change::Batch(_))));
    }

    #[test]
    fn a_snapshot_restores_the_state() {
        let (mut replica, published) = Replica::new(Level::NEWEST);
        replica.apply(1, 1, &register("one")).unwrap().unwrap();
        replica.applied_batch(1);
        let mut bytes = Vec::new();
        replica.snapshot()(&mut bytes).unwrap();
        let (mut other, restored) = Replica::new(Level::NEWEST);
        let state = other.decoder()(&mut bytes.as_slice()).unwrap();
        other.restore(1, state);
        assert_eq!(*restored.state(), *published.state());
        assert!(other.decoder()(&mut b"nonsense".as_slice()).is_err());
    }

    #[test]
    fn what_is_of_a_higher_level_is_refused_before_anything_is_applied() {
        let raise = Command::RaiseLevel { to: Level(2) };
        let raise = encode_command(&Envelope { at: Timestamp(1), request: None, command: raise });
        let (mut old, published) = Replica::new(Level::FIRST);
        let refused = old.apply(1, 1, &raise).unwrap_err().to_string();
        assert!(refused.contains("level 2") && refused.contains("upgrade"), "{refused}");
        old.applied_batch(1);
        assert_eq!(*published.state(), State::default());

        let (mut new, _) = Replica::new(Level(2));
        new.apply(1, 1, &raise).unwrap().unwrap();
        let mut bytes = Vec::new();
        new.snapshot()(&mut bytes).unwrap();
        let refused = old.decoder()(&mut bytes.as_slice()).unwrap_err().to_string();
        assert!(refused.contains("level 2"), "{refused}");
    }
}
