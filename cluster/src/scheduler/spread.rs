//! The order in which nodes take the tasks of one group: a heap of nodes by rank, under a tree of the preferences'
//! values, so that tasks spread over those first.

use super::{
    rank::{Rank, rank},
    view::View,
};
use crate::{
    feasibility::{Candidate, value_of},
    ids::{NodeId, TaskId},
    model::Preference,
};
use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

/// The nodes that can take tasks of one group.
pub(super) struct Order<'a> {
    candidate: Candidate<'a>,
    shunned: &'a BTreeSet<NodeId>,
    root: Branch,
}

/// The nodes that have one value of each preference so far.
enum Branch {
    /// No preference is left: nodes by rank.
    Leaf(BinaryHeap<Reverse<(Rank, usize)>>),
    /// One branch for each value of the next preference; the one with the fewest of the service's tasks comes first.
    Inner { branches: Vec<Branch>, order: BinaryHeap<Reverse<(u64, usize)>> },
}

impl<'a> Order<'a> {
    /// The nodes of `view` that can take `candidate`.
    pub(super) fn new(view: &View<'_>, candidate: Candidate<'a>, shunned: &'a BTreeSet<NodeId>) -> Self {
        let all: Vec<usize> = (0..view.seats().len()).collect();
        let preferences = &candidate.template.placement.preferences;
        let mut order = Order { candidate, shunned, root: Branch::Leaf(BinaryHeap::new()) };
        order.root = order.grow(view, &all, preferences);
        order
    }

    /// Gives `task` to the best node; `None` if none can take it.
    pub(super) fn give(&mut self, view: &mut View<'_>, task: TaskId) -> Option<NodeId> {
        let at = self.root.pop()?;
        let node = view.place(at, task, self.candidate);
        let again = view.check(at, self.candidate).is_ok().then(|| self.rank(view, at));
        self.root.put_back(at, again);
        Some(node)
    }

    fn rank(&self, view: &View<'_>, at: usize) -> Rank {
        let seat = &view.seats()[at];
        let strategy = self.candidate.template.placement.strategy;
        rank(strategy, self.candidate.service, seat, at, self.shunned.contains(&seat.node.id))
    }

    fn grow(&self, view: &View<'_>, among: &[usize], preferences: &[Preference]) -> Branch {
        let Some((first, rest)) = preferences.split_first() else {
            let fitting = among.iter().filter(|at| view.check(**at, self.candidate).is_ok());
            return Branch::Leaf(fitting.map(|at| Reverse((self.rank(view, *at), *at))).collect());
        };
        let mut values: BTreeMap<Cow<'_, str>, Vec<usize>> = BTreeMap::new();
        for at in among {
            values.entry(value_of(&first.spread, view.seats()[*at].node)).or_default().push(*at);
        }
        let mut branches = Vec::with_capacity(values.len());
        let mut order = BinaryHeap::with_capacity(values.len());
        for members in values.values() {
            // Tasks on nodes that are full count too: the value has its share.
            let tasks = members.iter().map(|at| view.seats()[*at].load.wanted_of(self.candidate.service));
            let tasks = tasks.map(u64::from).sum();
            let branch = self.grow(view, members, rest);
            if !branch.is_empty() {
                order.push(Reverse((tasks, branches.len())));
                branches.push(branch);
            }
        }
        Branch::Inner { branches, order }
    }
}

impl Branch {
    fn is_empty(&self) -> bool {
        match self {
            Branch::Leaf(nodes) => nodes.is_empty(),
            Branch::Inner { order, .. } => order.is_empty(),
        }
    }

    /// Takes out the best node. The way to it stays first in its heaps until [`Branch::put_back`].
    fn pop(&mut self) -> Option<usize> {
        match self {
            Branch::Leaf(nodes) => nodes.pop().map(|Reverse((_, at))| at),
            Branch::Inner { branches, order } => {
                let Reverse((_, first)) = order.peek()?;
                branches[*first].pop()
            }
        }
    }

    /// Puts a node that was taken out, and got a task, back with its new rank; `None` if it can't take another one.
    fn put_back(&mut self, at: usize, again: Option<Rank>) {
        match self {
            Branch::Leaf(nodes) => nodes.extend(again.map(|rank| Reverse((rank, at)))),
            Branch::Inner { branches, order } => {
                let Some(Reverse((tasks, first))) = order.pop() else { return };
                branches[first].put_back(at, again);
                if !branches[first].is_empty() {
                    order.push(Reverse((tasks + 1, first)));
                }
            }
        }
    }
}
