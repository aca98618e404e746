//! The nodes as the scheduler sees them while it deals tasks out: the state's loads, and a copy of those it touched.

use crate::{
    feasibility::{Candidate, Reason, feasible},
    ids::{NodeId, TaskId},
    model::Node,
    state::{NodeLoad, State},
};
use std::borrow::Cow;

/// Every node with what it carries, by id.
pub(super) struct View<'a> {
    seats: Vec<Seat<'a>>,
}

/// A node with what it carries.
pub(super) struct Seat<'a> {
    pub(super) node: &'a Node,
    pub(super) load: Cow<'a, NodeLoad>,
}

impl<'a> View<'a> {
    /// The nodes of `state`; `empty` is what the idle ones carry.
    pub(super) fn new(state: &'a State, empty: &'a NodeLoad) -> Self {
        let mut loads = state.loads().peekable();
        let seats = state.nodes().map(|node| {
            // Both go by id: one pass over the loads is enough.
            while loads.next_if(|(id, _)| *id < node.id).is_some() {}
            let load = loads.next_if(|(id, _)| *id == node.id).map_or(empty, |(_, load)| load);
            Seat { node, load: Cow::Borrowed(load) }
        });
        View { seats: seats.collect() }
    }

    pub(super) fn seats(&self) -> &[Seat<'a>] {
        &self.seats
    }

    pub(super) fn find(&self, node: NodeId) -> Option<usize> {
        self.seats.binary_search_by_key(&node, |seat| seat.node.id).ok()
    }

    pub(super) fn check(&self, at: usize, candidate: Candidate<'_>) -> Result<(), Reason> {
        let seat = &self.seats[at];
        feasible(candidate, seat.node, &seat.load)
    }

    /// Counts a task in.
    pub(super) fn place(&mut self, at: usize, task: TaskId, candidate: Candidate<'_>) -> NodeId {
        let seat = &mut self.seats[at];
        seat.load.to_mut().add(task, candidate.service, candidate.template);
        seat.node.id
    }
}
