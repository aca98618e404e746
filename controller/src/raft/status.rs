//! What a replica shows of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The part a replica plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks whether it could win an election.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
}

impl From<::raft::StateRole> for Role {
    fn from(role: ::raft::StateRole) -> Self {
        match role {
            ::raft::StateRole::Follower => Self::Follower,
            ::raft::StateRole::PreCandidate => Self::PreCandidate,
            ::raft::StateRole::Candidate => Self::Candidate,
            ::raft::StateRole::Leader => Self::Leader,
        }
    }
}

/// How a leader is sending to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// Looking for the point where the logs agree.
    Probe,
    /// Streaming entries.
    Replicate,
    /// Sending a snapshot, because the log no longer holds what the member misses.
    Snapshot,
}

/// A leader's view of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerProgress {
    /// The last index known to be durable there.
    pub matched: u64,
    /// How it is being sent to.
    pub state: PeerState,
    /// Whether it was heard within the last election timeout.
    pub active: bool,
}

/// A replica's state at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RaftStatus {
    /// This replica.
    pub id: u64,
    /// Its current term.
    pub term: u64,
    /// The leader it knows.
    pub leader: Option<u64>,
    /// What it is itself.
    pub role: Role,
    /// It leads and has applied everything that earlier leaders committed: leader loops may run.
    pub leading: bool,
    /// The last index known to be committed.
    pub commit: u64,
    /// The last index applied to the state machine.
    pub applied: u64,
    /// The first index still in the log.
    pub first_index: u64,
    /// The last index in the log, durable or not.
    pub last_index: u64,
    /// The index covered by the newest snapshot; 0 without one.
    pub snapshot_index: u64,
    /// Members that vote, sorted.
    pub voters: Vec<u64>,
    /// Voters of the outgoing configuration while a joint change is under way, sorted.
    pub voters_outgoing: Vec<u64>,
    /// Members that only receive the log, sorted.
    pub learners: Vec<u64>,
    /// On a leader, every other member's progress.
    pub peers: BTreeMap<u64, PeerProgress>,
    /// Why the replica has stopped, when it did so by itself.
    pub failed: Option<Arc<str>>,
}

impl RaftStatus {
    /// Whether `later` differs in nothing but how far the log and the other members have come.
    pub(super) fn has_only_progressed(&self, later: &Self) -> bool {
        let peers = self.peers.len() == later.peers.len()
            && self.peers.iter().zip(&later.peers).all(|((id, before), (same, now))| {
                id == same && before.state == now.state && before.active == now.active
            });
        let facts = |status: &Self| (status.id, status.term, status.leader, status.role, status.leading);
        peers
            && facts(self) == facts(later)
            && self.voters == later.voters
            && self.voters_outgoing == later.voters_outgoing
            && self.learners == later.learners
            && self.failed == later.failed
    }

    /// Whether the replica has learned of members, and it isn't one of them: it was removed.
    #[must_use]
    pub fn removed(&self) -> bool {
        !self.voters.is_empty() && !self.has_member(self.id)
    }

    /// Whether a replica is a member, as far as is known here.
    #[must_use]
    pub fn has_member(&self, id: u64) -> bool {
        [&self.voters, &self.voters_outgoing, &self.learners].iter().any(|set| set.contains(&id))
    }
}
