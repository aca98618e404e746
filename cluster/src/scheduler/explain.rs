//! Why tasks have no node, in words: how many nodes each filter refused.

use super::view::View;
use crate::{
    feasibility::{Candidate, Reason},
    ids::NodeId,
};
use std::{cmp::Reverse, collections::BTreeMap, fmt::Write, sync::Arc};

/// Why no node can take `candidate`.
pub(super) fn anywhere(view: &View<'_>, candidate: Candidate<'_>) -> Arc<str> {
    let nodes = view.seats().len();
    words((0..nodes).filter_map(|at| view.check(at, candidate).err()), nodes)
}

/// Why the nodes that tasks are meant for can't take them.
pub(super) fn there(view: &View<'_>, tasks: &[(Candidate<'_>, NodeId)]) -> Arc<str> {
    let refusals = tasks.iter().filter_map(|(candidate, node)| match view.find(*node) {
        Some(at) => view.check(at, *candidate).err(),
        None => Some(Reason::NotReady),
    });
    words(refusals, tasks.len())
}

fn words(refusals: impl Iterator<Item = Reason>, nodes: usize) -> Arc<str> {
    if nodes == 0 {
        return "there is no node yet".into();
    }
    let mut counts: BTreeMap<Reason, usize> = BTreeMap::new();
    for reason in refusals {
        *counts.entry(reason).or_default() += 1;
    }
    let mut counts: Vec<(Reason, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| Reverse(*count));
    let mut text = String::new();
    for (reason, count) in counts {
        // Writing to a string can't fail.
        let _ = match text.is_empty() {
            true => write!(text, "{count} of {nodes} node{}: {reason}", if nodes == 1 { "" } else { "s" }),
            false => write!(text, ", {count}: {reason}"),
        };
    }
    text.into()
}
