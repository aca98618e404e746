//! Who leads, as a value that changes only when that does: Raft's own status changes with every entry.

use crate::raft::{RaftStatus, Role};
use tokio::sync::watch;

/// Who leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Raft's term.
    pub term: u64,
    /// This controller leads and has applied all that earlier leaders committed.
    pub leading: bool,
    /// The leader that this controller knows.
    pub leader: Option<u64>,
}

impl Leadership {
    /// What follows `self` when Raft says `status`. A leader that has caught up once stays one until it is deposed,
    /// though it is a little behind its own log most of the time.
    #[must_use]
    pub fn next(self, status: &RaftStatus) -> Self {
        let holds = self.leading && self.term == status.term && status.role == Role::Leader;
        Leadership { term: status.term, leading: status.leading || holds, leader: status.leader }
    }
}

/// Follows Raft's status until the replica stops.
pub fn follow(mut status: watch::Receiver<RaftStatus>) -> watch::Receiver<Leadership> {
    let first = Leadership::default().next(&status.borrow_and_update());
    let (sender, receiver) = watch::channel(first);
    tokio::spawn(async move {
        while status.changed().await.is_ok() {
            let next = sender.borrow().next(&status.borrow_and_update());
            sender.send_if_modified(|shown| {
                let changed = *shown != next;
                *shown = next;
                changed
            });
        }
        sender.send_modify(|shown| *shown = Leadership { leading: false, leader: None, ..*shown });
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_stays_one_while_it_applies_its_own_entries() {
        let status = |term, role, leading| RaftStatus { term, role, leading, ..RaftStatus::default() };
        let elected = Leadership::default().next(&status(2, Role::Leader, false));
        assert!(!elected.leading);
        let caught_up = elected.next(&status(2, Role::Leader, true));
        assert!(caught_up.leading);
        assert!(caught_up.next(&status(2, Role::Leader, false)).leading);
        assert!(!caught_up.next(&status(2, Role::Follower, false)).leading);
        assert!(!caught_up.next(&status(4, Role::Leader, false)).leading);
    }
}
