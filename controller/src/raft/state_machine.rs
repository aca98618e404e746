//! What Raft replicates: the trait between the log and the state it builds.

use std::io::{self, Read, Write};

use ::raft::eraftpb::ConfState;

/// Encodes a captured state; runs on another thread while the machine goes on applying.
pub type SnapshotEncoder = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// Decodes a state, all of what it reads; runs on another thread while the replica goes on answering.
pub type SnapshotDecoder<T> = Box<dyn FnOnce(&mut dyn Read) -> Result<T, RestoreError> + Send>;

/// What happened to one member in a membership change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChangeKind {
    /// It votes from now on (added, or promoted from learner).
    Voter,
    /// It receives the log but does not vote (added, or demoted from voter).
    Learner,
    /// It is no longer part of the cluster.
    Removed,
}

/// One member's part of an applied membership change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberChange {
    /// The member.
    pub id: u64,
    /// What it has become.
    pub kind: MemberChangeKind,
    /// What its proposer attached (its address, for one); empty when nothing was, as in a promotion.
    pub context: Vec<u8>,
}

/// A deterministic machine driven by the committed log.
///
/// It lives in memory: at start it is rebuilt from the newest snapshot and the entries after it, so
/// every method but [`StateMachine::applied_batch`] must depend on its arguments alone.
pub trait StateMachine: Send + 'static {
    /// What applying a command answers to the one who proposed it.
    type Output: Send + 'static;

    /// A state read from a snapshot, not yet the machine's own.
    type Restored: Send + 'static;

    /// Applies one committed command. Indexes only grow, but not every index carries a command.
    ///
    /// # Errors
    /// When the bytes are not a command that this version understands. The replica then stops: it can't go on without
    /// what the others apply.
    fn apply(&mut self, index: u64, term: u64, command: &[u8]) -> Result<Self::Output, ApplyError>;

    /// Called once after a run of commands, with the last applied index: the moment to publish the
    /// new state to readers. Proposers and readers are answered after it returns.
    fn applied_batch(&mut self, applied: u64) {
        let _ = applied;
    }

    /// Called when the set of members has changed: `members` is the whole of it, `changed` says who
    /// this change was about. Members and their contexts belong into the snapshot.
    fn membership_changed(&mut self, index: u64, members: &ConfState, changed: &[MemberChange]);

    /// Captures the state in time independent of its size; the encoding happens in the closure.
    fn snapshot(&self) -> SnapshotEncoder;

    /// What reads a snapshot. It fails when the bytes are not a snapshot that this version
    /// understands. The replica then stops: it can't go on from a state that it doesn't have.
    fn decoder(&self) -> SnapshotDecoder<Self::Restored>;

    /// Replaces the state by one from a snapshot that covers the log up to `index`, in time
    /// independent of their sizes.
    fn restore(&mut self, index: u64, state: Self::Restored);
}

/// Why a snapshot was not understood.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RestoreError(pub String);

/// Why a committed command was not understood.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ApplyError(pub String);
