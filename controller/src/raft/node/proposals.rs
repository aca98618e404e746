//! Proposals that wait for their entry to be applied.

use std::collections::VecDeque;

use super::ProposeReply;
use crate::raft::reply::{ChangeError, Members, ProposeError, Reply};

/// Who waits for an entry.
pub(super) enum Waiter<T> {
    Command(ProposeReply<T>),
    Change(Reply<Result<Members, ChangeError>>),
}

impl<T> From<ProposeReply<T>> for Waiter<T> {
    fn from(reply: ProposeReply<T>) -> Self {
        Self::Command(reply)
    }
}

impl<T> Waiter<T> {
    fn fail(self, error: ProposeError) {
        match self {
            Self::Command(reply) => reply(Err(error)),
            Self::Change(reply) => reply(Err(error.into())),
        }
    }
}

struct Waiting<T> {
    index: u64,
    term: u64,
    /// When to give up; set when leadership is lost.
    deadline: Option<u64>,
    waiter: Waiter<T>,
}

/// Proposals by index.
pub(super) struct Proposals<T> {
    waiting: VecDeque<Waiting<T>>,
    any_deadline: bool,
}

impl<T> Default for Proposals<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), any_deadline: false }
    }
}

impl<T> Proposals<T> {
    /// Waits for the entry proposed at `index` in `term`.
    pub(super) fn register(&mut self, index: u64, term: u64, waiter: Waiter<T>) {
        // An entry of an earlier term that was at this place is gone from this log, but may live on
        // in another and still be committed by its holder.
        let kept = self.waiting.partition_point(|waiting| waiting.index < index);
        for displaced in self.waiting.drain(kept..) {
            displaced.waiter.fail(ProposeError::Unknown);
        }
        self.waiting.push_back(Waiting { index, term, deadline: None, waiter });
    }

    /// The waiter of an entry that is being applied. Whoever waited for another entry at its place
    /// learns that it will never be.
    pub(super) fn take(&mut self, index: u64, term: u64) -> Option<Waiter<T>> {
        let passed = self.waiting.partition_point(|waiting| waiting.index <= index);
        let mut taken = None;
        for waiting in self.waiting.drain(..passed) {
            if waiting.index == index && waiting.term == term {
                taken = Some(waiting.waiter);
            } else {
                waiting.waiter.fail(ProposeError::Superseded);
            }
        }
        taken
    }

    /// Entries up to `index` were applied elsewhere and came here inside a snapshot.
    pub(super) fn skipped_to(&mut self, index: u64) {
        let passed = self.waiting.partition_point(|waiting| waiting.index <= index);
        for skipped in self.waiting.drain(..passed) {
            skipped.waiter.fail(ProposeError::Unknown);
        }
    }

    /// Leadership is lost: most entries will still be committed by the next leader, so wait for it,
    /// but not for ever.
    pub(super) fn leadership_lost(&mut self, deadline: u64) {
        for waiting in &mut self.waiting {
            waiting.deadline.get_or_insert(deadline);
            self.any_deadline = true;
        }
    }

    /// Gives up on what waited too long.
    pub(super) fn expire(&mut self, now: u64) {
        if !self.any_deadline {
            return;
        }
        let kept = VecDeque::with_capacity(self.waiting.len());
        for waiting in std::mem::replace(&mut self.waiting, kept) {
            if waiting.deadline.is_some_and(|deadline| deadline <= now) {
                waiting.waiter.fail(ProposeError::Unknown);
            } else {
                self.waiting.push_back(waiting);
            }
        }
        self.any_deadline = self.waiting.iter().any(|waiting| waiting.deadline.is_some());
    }
}
