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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    type Answers = Arc<Mutex<Vec<(u64, ProposeError)>>>;

    fn waiter(answers: &Answers, name: u64) -> Waiter<()> {
        let answers = answers.clone();
        let reply: ProposeReply<()> = Box::new(move |result| {
            answers.lock().unwrap().push((name, result.expect_err("nothing was applied")));
        });
        reply.into()
    }

    /// A leader of term 2 wrote 5 to 7 and was deposed; a later leader's entry took the place of 5; it
    /// leads again, in term 4, and writes 6. What it wrote at 6 and 7 in term 2 may still be in another's
    /// log, whose holder may come to lead: only of 5 is it known, once 5 is applied, that it won't be.
    #[test]
    fn who_is_displaced_from_this_log_is_not_told_that_it_did_not_happen() {
        let (answers, mut proposals) = (Answers::default(), Proposals::default());
        for index in 5..=7 {
            proposals.register(index, 2, waiter(&answers, index));
        }
        proposals.register(6, 4, waiter(&answers, 60));
        assert_eq!(*answers.lock().unwrap(), [(6, ProposeError::Unknown), (7, ProposeError::Unknown)]);
        answers.lock().unwrap().clear();
        assert!(proposals.take(5, 3).is_none());
        assert_eq!(*answers.lock().unwrap(), [(5, ProposeError::Superseded)]);
        assert!(proposals.take(6, 4).is_some(), "the newer one still waits");
    }
}
