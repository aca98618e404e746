//! Handing leadership over.

use ::raft::StateRole;
use ::raft::eraftpb::{Message, MessageType};

use super::RaftCore;
use crate::raft::reply::{Reply, TransferError};
use crate::raft::state_machine::StateMachine;
use crate::raft::storage::Store;

struct UnderWay {
    to: u64,
    deadline: u64,
    reply: Reply<Result<(), TransferError>>,
}

/// The hand-over that is under way, if one is.
#[derive(Default)]
pub(super) struct Transfer(Option<UnderWay>);

impl Transfer {
    fn to(&self) -> Option<u64> {
        self.0.as_ref().map(|transfer| transfer.to)
    }

    /// A leader was seen, or lost (0).
    pub(super) fn leader_changed(&mut self, leader: u64) {
        if let Some(done) = self.0.take_if(|transfer| transfer.to == leader) {
            (done.reply)(Ok(()));
        }
    }

    pub(super) fn expire(&mut self, now: u64) {
        if let Some(late) = self.0.take_if(|transfer| transfer.deadline <= now) {
            (late.reply)(Err(TransferError::TimedOut(late.to)));
        }
    }
}

impl<S: StateMachine, D: Store> RaftCore<S, D> {
    /// Tells the successor again to stand for election: it ignores that while it doesn't know yet that
    /// it votes.
    pub(super) fn urge_successor(&mut self) {
        let raft = &mut self.raw.raft;
        let Some(to) = raft.lead_transferee.filter(|to| self.transfer.to() == Some(*to)) else { return };
        let last = raft.raft_log.last_index();
        if raft.prs().get(to).is_some_and(|progress| progress.matched == last) {
            raft.send_timeout_now(to);
        }
    }

    /// For a leader that can't go on: the message that makes its best successor stand for election at
    /// once. It needs nothing of this replica's disk, and votes decide as ever.
    pub fn resignation(&self) -> Option<Message> {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader || self.pending.has_new_term() {
            return None;
        }
        Some(Message {
            msg_type: MessageType::MsgTimeoutNow as i32,
            from: self.config.id,
            to: self.best_successor()?,
            term: raft.term,
            ..Message::default()
        })
    }

    /// Hands leadership to the voter `to`; it is answered once `to` leads.
    pub fn transfer_leader(&mut self, to: u64, reply: Reply<Result<(), TransferError>>) {
        if self.raw.raft.state != StateRole::Leader {
            reply(Err(TransferError::NotLeader { leader: self.leader() }));
        } else if !self.members.voters.contains(&to) {
            reply(Err(TransferError::NotVoter(to)));
        } else if to == self.config.id {
            reply(Ok(()));
        } else {
            self.raw.transfer_leader(to);
            // raft itself gives up after an election timeout; the new leader has to be heard, too.
            let deadline = self.now + 2 * self.config.election_ticks as u64;
            if let Some(before) = self.transfer.0.replace(UnderWay { to, deadline, reply }) {
                (before.reply)(Err(TransferError::TimedOut(before.to)));
            }
        }
    }
}
