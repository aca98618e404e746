//! The real replica as raft's state machine, watched: what it applies, restores and publishes is noted for the checks.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};
use wharf_cluster::{
    level::Level,
    state::{Outcome, State},
};
use wharf_controller::{
    raft::{ApplyError, ConfState, MemberChange, SnapshotDecoder, SnapshotEncoder, StateMachine},
    replica::{Published, Replica},
};

/// Something that a replica did.
#[derive(Debug)]
pub enum Note {
    /// It applied an entry.
    Applied {
        /// The entry's place.
        index: u64,
        /// Its term.
        term: u64,
        /// What it holds.
        command: Vec<u8>,
        /// What came of it.
        outcome: Outcome,
    },
    /// It took a snapshot's state.
    Restored,
    /// It showed its state to readers.
    Published {
        /// The last entry in it.
        index: u64,
        /// The state.
        state: Arc<State>,
    },
}

/// Where a replica's notes are found.
#[derive(Clone, Debug, Default)]
pub struct Notes(Arc<Mutex<Vec<Note>>>);

impl Notes {
    fn add(&self, note: Note) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    /// What was noted since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<Note> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A replica that is watched.
pub struct Watched {
    replica: Replica,
    published: Arc<Published>,
    notes: Notes,
}

impl Watched {
    /// An empty replica, and where it publishes.
    #[must_use]
    pub fn new() -> (Self, Arc<Published>, Notes) {
        let (replica, published) = Replica::new(Level::NEWEST);
        let notes = Notes::default();
        (Watched { replica, published: published.clone(), notes: notes.clone() }, published, notes)
    }
}

impl StateMachine for Watched {
    type Output = Outcome;
    type Restored = State;

    fn apply(&mut self, index: u64, term: u64, command: &[u8]) -> Result<Outcome, ApplyError> {
        let outcome = self.replica.apply(index, term, command)?;
        self.notes.add(Note::Applied { index, term, command: command.to_vec(), outcome: outcome.clone() });
        Ok(outcome)
    }

    fn applied_batch(&mut self, applied: u64) {
        self.replica.applied_batch(applied);
        self.notes.add(Note::Published { index: applied, state: self.published.state() });
    }

    fn membership_changed(&mut self, index: u64, members: &ConfState, changed: &[MemberChange]) {
        self.replica.membership_changed(index, members, changed);
    }

    fn snapshot(&self) -> SnapshotEncoder {
        self.replica.snapshot()
    }

    fn decoder(&self) -> SnapshotDecoder<State> {
        self.replica.decoder()
    }

    fn restore(&mut self, index: u64, state: State) {
        self.replica.restore(index, state);
        self.notes.add(Note::Restored);
        self.notes.add(Note::Published { index, state: self.published.state() });
    }
}
