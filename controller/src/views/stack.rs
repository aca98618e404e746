//! Stacks.

use super::service::tally;
use wharf_cluster::{model, state::State};
use wharf_proto::v1;

/// A stack, with the sums of its services.
#[must_use]
pub fn stack(state: &State, stack: &model::Stack) -> v1::Stack {
    let mut shown = v1::Stack {
        name: stack.name.clone(),
        version: stack.version,
        volumes: stack.volumes.iter().map(|(name, volume)| (name.clone(), volume.into())).collect(),
        created: stack.created.0,
        updated: stack.updated.0,
        ..v1::Stack::default()
    };
    for service in state.services_of(&stack.name) {
        let tally = tally(state, service);
        shown.services.push(service.name.to_string());
        shown.running += if service.spec.mode.is_job() { tally.completed } else { tally.running };
        shown.desired += tally.desired;
    }
    shown
}
