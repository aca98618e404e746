//! Whether nodes answer, as one loop says it, so that "ready" and "down" can't overtake each other.

use super::{super::Ended, session::Ending, term::Term};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use wharf_cluster::{
    command::Command,
    ids::NodeId,
    model::{NodeDescription, NodeState},
};

/// News that one proposal carries.
const BATCH: usize = 256;
/// Nodes that are given up within [`VERDICT_PAUSE`], or a tenth of all if that is more.
const VERDICTS: usize = 10;
const VERDICT_PAUSE: Duration = Duration::from_secs(1);
/// A time that doesn't come.
const FAR: Duration = Duration::from_secs(3600);

/// A node's agent has begun a session, or its machine changed.
pub(super) struct News {
    pub(super) node: NodeId,
    pub(super) description: NodeDescription,
}

pub(super) async fn run(term: Arc<Term>, mut queue: mpsc::Receiver<News>) -> Ended {
    let mut not_before = Instant::now();
    loop {
        let next = term.liveness.lock().next().unwrap_or_else(|| Instant::now() + FAR);
        let mut news = Vec::new();
        tokio::select! {
            _ = queue.recv_many(&mut news, BATCH) => answer(&term, news).await?,
            () = tokio::time::sleep_until(next.max(not_before)) => {
                let now = Instant::now();
                let silent = term.liveness.lock().expired(now, VERDICTS.max(term.node_count() / 10));
                if !silent.is_empty() {
                    not_before = now + VERDICT_PAUSE;
                    give_up(&term, silent).await?;
                }
            }
        }
    }
}

/// These nodes answer.
async fn answer(term: &Term, news: Vec<News>) -> Ended {
    let state = term.core.published.state();
    let mut commands = Vec::new();
    let mut ready = Vec::new();
    for News { node, description } in news {
        let Some(known) = state.node(node) else { continue };
        if known.status.state != NodeState::Ready {
            tracing::info!(%node, name = known.name, "a node is ready");
            ready.push((node, NodeState::Ready, String::new()));
        }
        if *known.description != description {
            commands.push(Command::DescribeNode { node, description });
        }
    }
    if !ready.is_empty() {
        commands.push(Command::SetNodeStates { nodes: ready });
    }
    term.core.proposer.insist_all(commands).await
}

/// These nodes don't.
async fn give_up(term: &Term, silent: Vec<NodeId>) -> Ended {
    let state = term.core.published.state();
    let why = format!("no heartbeat for {:.1} s", term.ttl().as_secs_f64());
    let mut nodes = Vec::new();
    for node in silent {
        term.end(node, Ending::Silent);
        if let Some(known) = state.node(node) {
            tracing::warn!(%node, name = known.name, reason = why, "a node is down");
            nodes.push((node, NodeState::Down, why.clone()));
        }
    }
    term.core.proposer.insist_all(vec![Command::SetNodeStates { nodes }]).await
}
