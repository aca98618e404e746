//! Follows what happens, and tells each session what it means for its node.

use super::{
    super::Ended,
    holdings::Holdings,
    session::{Ending, Session},
    term::Term,
};
use crate::{
    raft::ProposeError,
    replica::{Batch, Change, Changes},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};
use wharf_cluster::{
    event::Event,
    ids::{NodeId, TaskId},
};

pub(super) async fn run(term: Arc<Term>, mut changes: Changes) -> Ended {
    loop {
        match changes.next().await.ok_or(ProposeError::Stopped)? {
            Change::Batch(batch) => follow(&term, &batch),
            Change::Everything => {
                let state = term.core.published.state();
                *term.holdings.lock() = Holdings::of(&state);
                term.count_nodes(&state);
                term.list_controllers(&state);
                term.each_session(|session| Session::renew(session));
            }
        }
    }
}

fn follow(term: &Term, batch: &Batch) {
    let mut marked: HashMap<NodeId, BTreeSet<TaskId>> = HashMap::new();
    let (mut nodes, mut controllers) = (false, false);
    {
        let mut holdings = term.holdings.lock();
        for event in &batch.events {
            if let Some((node, task)) = holdings.follow(event) {
                marked.entry(node).or_default().insert(task);
            }
            match event {
                Event::NodeRegistered { .. } => nodes = true,
                Event::NodeRemoved { node } => {
                    nodes = true;
                    term.liveness.lock().forget(*node);
                    term.end(*node, Ending::Removed);
                }
                Event::ControllerRecorded { .. } | Event::ControllerRemoved { .. } => controllers = true,
                _ => {}
            }
        }
    }
    for (node, tasks) in marked {
        term.mark(node, tasks);
    }
    if nodes || controllers {
        let state = term.core.published.state();
        term.count_nodes(&state);
        term.list_controllers(&state);
    }
}
