//! Who belongs to the cluster: asking for a change, and applying one.

use ::raft::StateRole;
use ::raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, Entry, EntryType};
use protobuf_for_raft::Message as _;

use super::RaftCore;
use super::proposals::Waiter;
use crate::raft::reply::{ChangeError, Members, ProposeError, Reply, TransferError};
use crate::raft::state_machine::{MemberChange, MemberChangeKind, StateMachine};
use crate::raft::storage::Store;

/// A membership change that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MembershipRequest {
    /// Add a member that doesn't vote, or give a learner a new context.
    AddLearner {
        /// The new member.
        id: u64,
        /// What every state machine learns with it.
        context: Vec<u8>,
    },
    /// Make a learner a voter.
    Promote {
        /// The learner.
        id: u64,
    },
    /// Make a voter a learner.
    Demote {
        /// The voter.
        id: u64,
    },
    /// Remove a member for good.
    Remove {
        /// The member.
        id: u64,
    },
}

impl MembershipRequest {
    fn id(&self) -> u64 {
        match self {
            Self::AddLearner { id, .. }
            | Self::Promote { id }
            | Self::Demote { id }
            | Self::Remove { id } => *id,
        }
    }

    fn into_change(self) -> ConfChangeV2 {
        let (kind, node_id, context) = match self {
            Self::AddLearner { id, context } => (ConfChangeType::AddLearnerNode, id, context),
            Self::Promote { id } => (ConfChangeType::AddNode, id, Vec::new()),
            Self::Demote { id } => (ConfChangeType::AddLearnerNode, id, Vec::new()),
            Self::Remove { id } => (ConfChangeType::RemoveNode, id, Vec::new()),
        };
        let change = ConfChangeSingle { change_type: kind as i32, node_id };
        ConfChangeV2 { changes: vec![change], context, ..ConfChangeV2::default() }
    }
}

impl<S: StateMachine, D: Store> RaftCore<S, D> {
    /// Proposes a membership change. A leader that is to remove or demote itself hands its
    /// leadership over first and answers that it isn't the leader.
    pub fn change(&mut self, request: MembershipRequest, reply: Reply<Result<Members, ChangeError>>) {
        if let Err(error) = self.may_change(&request) {
            reply(Err(error));
            return;
        }
        let leaves = matches!(request, MembershipRequest::Remove { .. } | MembershipRequest::Demote { .. });
        if leaves && request.id() == self.config.id {
            self.hand_over_before_leaving(reply);
            return;
        }
        let entry = Entry {
            entry_type: EntryType::EntryConfChangeV2 as i32,
            data: request.into_change().encode_to_vec(),
            ..Entry::default()
        };
        match self.append(vec![entry]) {
            Ok((index, term)) => self.proposals.register(index, term, Waiter::Change(reply)),
            Err(error) => reply(Err(error.into())),
        }
    }

    fn may_change(&self, request: &MembershipRequest) -> Result<(), ChangeError> {
        self.may_propose()?;
        if self.raw.raft.has_pending_conf() || !self.members.voters_outgoing.is_empty() {
            return Err(ChangeError::InProgress);
        }
        let id = request.id();
        let (voter, learner) = (self.members.voters.contains(&id), self.members.learners.contains(&id));
        let refuse = |why: String| Err(ChangeError::Refused(why));
        match request {
            _ if id == 0 => refuse("controller ids start at 1".to_owned()),
            MembershipRequest::AddLearner { .. } if voter => refuse(format!("controller {id} votes already")),
            MembershipRequest::Promote { .. } if !learner => {
                refuse(format!("controller {id} is not a learner"))
            }
            MembershipRequest::Demote { .. } if !voter => refuse(format!("controller {id} is not a voter")),
            MembershipRequest::Remove { .. } if !voter && !learner => {
                refuse(format!("controller {id} is not a member"))
            }
            MembershipRequest::Remove { .. } | MembershipRequest::Demote { .. }
                if voter && self.members.voters.len() == 1 =>
            {
                refuse(format!("controller {id} is the only voter; promote another first"))
            }
            _ => Ok(()),
        }
    }

    fn hand_over_before_leaving(&mut self, reply: Reply<Result<Members, ChangeError>>) {
        let Some(successor) = self.best_successor() else {
            reply(Err(ChangeError::Refused("no other voter can be reached to take over".to_owned())));
            return;
        };
        let answer = move |result: Result<(), TransferError>| {
            reply(Err(match result {
                Ok(()) => ProposeError::NotLeader { leader: Some(successor) }.into(),
                Err(error) => ChangeError::Refused(error.to_string()),
            }));
        };
        self.transfer_leader(successor, Box::new(answer));
    }

    /// The reachable voter that knows most: one that doesn't know yet that it votes can't take over.
    pub(super) fn best_successor(&self) -> Option<u64> {
        let prs = self.raw.raft.prs();
        let voters = self.members.voters.iter().filter(|id| **id != self.config.id);
        let reachable = voters.filter_map(|id| Some((prs.get(*id)?, *id))).filter(|(pr, _)| pr.recent_active);
        reachable.max_by_key(|(pr, _)| (pr.committed_index, pr.matched)).map(|(_, id)| id)
    }

    /// Applies a committed change. Every replica comes to the same result, success or not.
    pub(super) fn apply_change(&mut self, index: u64, change: &ConfChangeV2) -> Result<Members, ChangeError> {
        let members = match self.raw.apply_conf_change(change) {
            Ok(members) => members,
            Err(error) => {
                tracing::warn!(index, %error, "a committed membership change has no effect");
                return Err(ChangeError::Refused(error.to_string()));
            }
        };
        let changed: Vec<_> = change.changes.iter().map(|single| told(single, &change.context)).collect();
        self.machine.membership_changed(index, &members, &changed);
        self.members = members;
        self.step_down_if_left();
        let mut result =
            Members { index, voters: self.members.voters.clone(), learners: self.members.learners.clone() };
        result.voters.sort_unstable();
        result.learners.sort_unstable();
        Ok(result)
    }

    /// A leader whose own removal was committed (proposed by an earlier leader) must not go on:
    /// raft-rs would count on a progress of its own that it no longer has.
    fn step_down_if_left(&mut self) {
        if self.raw.raft.state != StateRole::Leader || self.raw.raft.promotable() {
            return;
        }
        if let Some(successor) = self.best_successor() {
            self.raw.raft.send_timeout_now(successor);
        }
        let term = self.raw.raft.term;
        self.raw.raft.become_follower(term, ::raft::INVALID_ID);
    }
}

fn told(single: &ConfChangeSingle, context: &[u8]) -> MemberChange {
    let kind = match single.get_change_type() {
        ConfChangeType::AddNode => MemberChangeKind::Voter,
        ConfChangeType::AddLearnerNode => MemberChangeKind::Learner,
        ConfChangeType::RemoveNode => MemberChangeKind::Removed,
    };
    MemberChange { id: single.node_id, kind, context: context.to_vec() }
}
