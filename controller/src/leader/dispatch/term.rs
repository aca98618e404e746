//! One leadership's sessions.

use super::{
    holdings::Holdings,
    liveness::Liveness,
    nodes::News,
    reports::Reported,
    session::{Ending, Session},
    streams::Streams,
};
use crate::core::Core;
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use wharf_cluster::{
    ids::{NodeId, TaskId},
    model::NodeState,
    state::State,
};

/// Reports that wait to be proposed; more make their agents wait.
const REPORTS: usize = 1024;
/// News of nodes that wait to be proposed; more make their sessions wait.
const NEWS: usize = 256;

/// One leadership's sessions.
pub struct Term {
    pub(super) core: Arc<Core>,
    /// Raft's term.
    pub(super) number: u64,
    pub(super) holdings: Mutex<Holdings>,
    pub(super) liveness: Mutex<Liveness>,
    pub(super) streams: Streams,
    /// Addresses of all controllers.
    pub(super) controllers: watch::Sender<Vec<String>>,
    pub(super) reports: mpsc::Sender<Reported>,
    pub(super) nodes: mpsc::Sender<News>,
    sessions: Mutex<HashMap<NodeId, Arc<Session>>>,
    node_count: AtomicUsize,
}

/// What the term's loops read.
pub(super) struct Queues {
    pub(super) reports: mpsc::Receiver<Reported>,
    pub(super) nodes: mpsc::Receiver<News>,
}

impl Term {
    /// A term without sessions. Every node that isn't known to be down gets its full time to come back.
    pub(super) fn new(core: Arc<Core>, number: u64) -> (Arc<Self>, Queues) {
        let state = core.published.state();
        let node_count = state.nodes().count();
        let deadline = Instant::now() + core.timings.ttl_for(node_count);
        let expected = state.nodes().filter(|node| node.status.state != NodeState::Down);
        let liveness = Liveness::expecting(expected.map(|node| node.id), deadline);
        let (reports, report_queue) = mpsc::channel(REPORTS);
        let (nodes, node_queue) = mpsc::channel(NEWS);
        let term = Term {
            number,
            holdings: Mutex::new(Holdings::of(&state)),
            liveness: Mutex::new(liveness),
            streams: Streams::default(),
            controllers: watch::Sender::new(addresses(&state)),
            reports,
            nodes,
            sessions: Mutex::default(),
            node_count: AtomicUsize::new(node_count),
            core,
        };
        (Arc::new(term), Queues { reports: report_queue, nodes: node_queue })
    }

    /// Raft's term.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Begins a session of a node; another one that it has ends.
    pub(super) fn open(&self, node: NodeId) -> Arc<Session> {
        let session = Arc::new(Session::new(node, self.core.dispatcher.next_session()));
        self.heard(node);
        if let Some(before) = self.sessions.lock().insert(node, session.clone()) {
            before.end(Ending::Replaced);
        }
        session
    }

    /// Forgets a session that has ended, unless another has taken its place.
    pub(super) fn close(&self, session: &Arc<Session>) {
        let mut sessions = self.sessions.lock();
        if sessions.get(&session.node).is_some_and(|current| Arc::ptr_eq(current, session)) {
            sessions.remove(&session.node);
        }
    }

    /// The session of a node.
    #[must_use]
    pub fn session(&self, node: NodeId) -> Option<Arc<Session>> {
        self.sessions.lock().get(&node).cloned()
    }

    pub(super) fn each_session(&self, act: impl FnMut(&Arc<Session>)) {
        self.sessions.lock().values().for_each(act);
    }

    pub(super) fn end(&self, node: NodeId, why: Ending) {
        let session = self.sessions.lock().remove(&node);
        if let Some(session) = session {
            session.end(why);
        }
    }

    pub(super) fn end_all(&self, why: Ending) {
        for (_, session) in self.sessions.lock().drain() {
            session.end(why);
        }
    }

    /// Tells a node's session that these tasks have changed.
    pub(super) fn mark(&self, node: NodeId, tasks: BTreeSet<TaskId>) {
        if let Some(session) = self.session(node) {
            session.mark(tasks);
        }
    }

    /// A node has said something.
    pub(super) fn heard(&self, node: NodeId) {
        self.liveness.lock().heard(node, Instant::now() + self.ttl());
    }

    pub(super) fn ttl(&self) -> Duration {
        self.core.timings.ttl_for(self.node_count())
    }

    pub(super) fn heartbeat(&self) -> Duration {
        self.core.timings.heartbeat_for(self.node_count())
    }

    pub(super) fn node_count(&self) -> usize {
        self.node_count.load(Ordering::Relaxed)
    }

    pub(super) fn count_nodes(&self, state: &State) {
        self.node_count.store(state.nodes().count(), Ordering::Relaxed);
    }

    pub(super) fn list_controllers(&self, state: &State) {
        let now = addresses(state);
        self.controllers.send_if_modified(|shown| {
            let changed = *shown != now;
            *shown = now;
            changed
        });
    }
}

fn addresses(state: &State) -> Vec<String> {
    state.controllers().map(|controller| controller.address.clone()).collect()
}
