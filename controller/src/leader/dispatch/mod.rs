//! The dispatcher: the agents' sessions, what each is told to hold, what they report, and whether they are there.
//!
//! It exists for the time of one leadership ([`Term`]); a deposed leader ends its sessions, and the agents go to the
//! next one.

mod assignment;
#[cfg(test)]
mod fixture;
mod follow;
mod holdings;
mod liveness;
mod nodes;
mod reports;
mod session;
mod streams;
mod term;

pub use session::{Ending, Session};
pub use streams::{Answer, AskError};
pub use term::Term;

use super::Ended;
use crate::core::Core;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::{sync::watch, task::JoinSet};

/// Where the sessions are, if this controller leads.
pub struct Dispatcher {
    active: watch::Sender<Option<Arc<Term>>>,
    /// Never goes back, though a term's loops may begin anew.
    sessions: AtomicU64,
}

impl Default for Dispatcher {
    fn default() -> Self {
        Dispatcher { active: watch::Sender::new(None), sessions: AtomicU64::new(0) }
    }
}

impl Dispatcher {
    /// Begins to take sessions in `term`, and starts the loops that go with it.
    pub(super) fn begin(&self, core: &Arc<Core>, term: u64, loops: &mut JoinSet<Ended>) -> Arc<Term> {
        let changes = core.published.subscribe();
        let (term, queues) = Term::new(core.clone(), term);
        loops.spawn(follow::run(term.clone(), changes));
        loops.spawn(reports::run(term.clone(), queues.reports));
        loops.spawn(nodes::run(term.clone(), queues.nodes));
        self.active.send_replace(Some(term.clone()));
        term
    }

    /// Ends every session of a term.
    pub(super) fn end(&self, term: &Arc<Term>) {
        self.active.send_replace(None);
        term.end_all(Ending::Deposed);
    }

    /// The present leadership, if it is this controller's.
    #[must_use]
    pub fn active(&self) -> Option<Arc<Term>> {
        self.active.borrow().clone()
    }

    /// Waits until this controller leads.
    pub async fn activated(&self) -> Arc<Term> {
        let mut active = self.active.subscribe();
        loop {
            if let Some(term) = active.borrow_and_update().clone() {
                return term;
            }
            if active.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }
}
