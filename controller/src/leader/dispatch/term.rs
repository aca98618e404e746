//! One leadership's sessions: the dispatcher's decisions behind a lock, and who is to be woken by them.

use super::{
    super::decide::dispatch::{Dispatch, Ending, SessionKey},
    streams::Streams,
};
use crate::core::Core;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use wharf_cluster::{ids::NodeId, state::State};

/// One leadership's sessions.
pub struct Term {
    pub(super) core: Arc<Core>,
    /// Raft's term.
    number: u64,
    began: Instant,
    dispatch: Mutex<Dispatch>,
    /// Locked after `dispatch`, where both are.
    sessions: Mutex<HashMap<SessionKey, Arc<Session>>>,
    pub(super) streams: Streams,
    /// There is something to propose.
    pub(super) due: Notify,
    /// Reports were applied, and there may be room for more.
    pub(super) room: Notify,
}

/// What wakes those who serve a session.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// There is something to say.
    pub(super) wake: Notify,
    over: CancellationToken,
    ending: OnceLock<Ending>,
}

impl Session {
    /// Waits until the session ends, and says why.
    pub(super) async fn ended(&self) -> Ending {
        self.over.cancelled().await;
        self.ending.get().copied().unwrap_or(Ending::Deposed)
    }

    fn end(&self, why: Ending) {
        // The first reason counts.
        let _ = self.ending.set(why);
        self.over.cancel();
    }
}

impl Term {
    /// A term without sessions; they are counted on from `sessions`.
    pub(super) fn new(core: Arc<Core>, number: u64, sessions: u64) -> Arc<Self> {
        let dispatch = Dispatch::new(number, sessions, core.timings, &core.published.state(), Duration::ZERO);
        Arc::new(Term {
            core,
            number,
            began: Instant::now(),
            dispatch: Mutex::new(dispatch),
            sessions: Mutex::default(),
            streams: Streams::default(),
            due: Notify::new(),
            room: Notify::new(),
        })
    }

    /// Raft's term.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether a node's agent has a session, and has said something of late.
    #[must_use]
    pub fn is_answering(&self, node: NodeId) -> bool {
        self.with(|dispatch, _, now| dispatch.is_answering(node, now))
    }

    /// The moment at which the dispatcher's time is `at`.
    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.began + at
    }

    /// Has the dispatcher decide on something, and wakes whom that concerns.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Dispatch, &State, Duration) -> T) -> T {
        let (result, stirred) = {
            let mut dispatch = self.dispatch.lock();
            // Read under the lock: neither time nor state go back from one call to the next.
            let state = self.core.published.state();
            let result = act(&mut dispatch, &state, self.began.elapsed());
            (result, dispatch.stirred())
        };
        if !stirred.awake.is_empty() || !stirred.ended.is_empty() {
            let mut sessions = self.sessions.lock();
            for session in stirred.awake.iter().filter_map(|key| sessions.get(key)) {
                session.wake.notify_one();
            }
            for (key, why) in stirred.ended {
                if let Some(session) = sessions.remove(&key) {
                    session.end(why);
                }
            }
        }
        if stirred.propose {
            self.due.notify_one();
        }
        result
    }

    /// What wakes those who serve a session, if it has not ended.
    pub(super) fn session(&self, key: SessionKey) -> Option<Arc<Session>> {
        self.sessions.lock().get(&key).cloned()
    }

    /// To be called for a session that has just begun, before the dispatcher decides on anything else.
    pub(super) fn begin(&self, key: SessionKey) -> Arc<Session> {
        let session = Arc::new(Session::default());
        self.sessions.lock().insert(key, session.clone());
        session
    }

    /// Forgets a session whose stream has ended.
    pub(super) fn close(&self, key: SessionKey) {
        self.with(|dispatch, _, _| dispatch.close(key));
        self.sessions.lock().remove(&key);
    }

    /// Ends every session. The number of the latest.
    pub(super) fn end(&self) -> u64 {
        self.with(|dispatch, _, _| dispatch.end())
    }
}
