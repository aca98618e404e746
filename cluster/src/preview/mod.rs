//! What applying a stack would do, worked out on a copy of the state: which services change, and where each task goes.

mod diff;
mod rehearsal;

use crate::{
    command::Command,
    event::Event,
    ids::NodeId,
    model::{ServiceName, Slot, StackSpec},
    state::{Rejected, State, plan},
};
use diff::differences;
use rehearsal::rehearse;
use std::collections::BTreeMap;

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

/// What applying `spec` to `state` would do, if every agent does what it is told and nothing else happens meanwhile.
///
/// # Errors
/// When applying it would be refused.
pub fn preview(state: &State, spec: &StackSpec) -> Result<Preview, Rejected> {
    let command = Command::ApplyStack { spec: spec.clone(), expected_version: None };
    let events = plan(state, &command)?;
    let after = rehearse(state, spec)?;
    let mut placements = Vec::new();
    let mut unplaced = Vec::new();
    for service in after.services_of(&spec.name) {
        let news = after.tasks_of(service.id).filter(|task| {
            task.is_wanted() && state.task(task.id).is_none_or(|before| before.node.is_none())
        });
        placements.extend(news.filter_map(|task| {
            let node = after.node(task.node?)?;
            Some(PlannedTask {
                service: service.name.clone(),
                slot: task.slot,
                node: node.id,
                node_name: node.name.clone(),
            })
        }));
        unplaced.extend(service.unplaced.values().map(|reason| (service.name.clone(), reason.to_string())));
    }
    Ok(Preview {
        version: state.stack(&spec.name).map_or(0, |stack| stack.version),
        changes: changes(state, spec, &events),
        placements,
        unplaced,
    })
}

/// What `events` mean for each service of the stack, by name.
fn changes(state: &State, spec: &StackSpec, events: &[Event]) -> Vec<Change> {
    let mut changes: BTreeMap<ServiceName, Change> = spec
        .services
        .keys()
        .map(|short| ServiceName::new(&spec.name, short))
        .map(|service| (service.clone(), Change { service, action: Action::Unchanged, fields: Vec::new() }))
        .collect();
    for event in events {
        let (service, action, fields) = match event {
            Event::ServiceCreated { name, .. } => (name.clone(), Action::Create, Vec::new()),
            Event::ServiceUpdated { id, spec, rollout, .. } => {
                let Some(service) = state.service(*id) else { continue };
                let fields = differences(&*service.spec, &**spec);
                let action = match rollout {
                    Some(_) => Action::Update,
                    None if service.spec.mode != spec.mode => Action::Scale,
                    None => Action::Configure,
                };
                (service.name.clone(), action, fields)
            }
            Event::ServiceRemoving { id } => {
                let Some(service) = state.service(*id) else { continue };
                (service.name.clone(), Action::Remove, Vec::new())
            }
            _ => continue,
        };
        changes.insert(service.clone(), Change { service, action, fields });
    }
    changes.into_values().collect()
}
