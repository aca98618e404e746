//! The agents' sessions, as far as they are streams, tasks and time; what is said in them is decided in
//! [`super::decide::dispatch`].
//!
//! It exists for the time of one leadership ([`Term`]); a deposed leader ends its sessions, and the agents go to the
//! next one.

mod follow;
mod serve;
mod streams;
mod tend;
mod term;

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
    /// Number of the latest session. Never goes back, though a term's loops may begin anew.
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
        // Before the term looks at the state, so that nothing is missed in between.
        let changes = core.published.subscribe();
        let term = Term::new(core.clone(), term, self.sessions.load(Ordering::Relaxed));
        loops.spawn(follow::run(term.clone(), changes));
        loops.spawn(tend::run(term.clone()));
        self.active.send_replace(Some(term.clone()));
        term
    }

    /// Ends every session of a term.
    pub(super) fn end(&self, term: &Arc<Term>) {
        self.active.send_replace(None);
        self.sessions.store(term.end(), Ordering::Relaxed);
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
}
