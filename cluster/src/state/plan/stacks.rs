//! Commands about stacks.

use super::{Planned, Rejected, services};
use crate::{
    event::Event,
    ids::ServiceId,
    model::{ServiceName, StackSpec},
    state::State,
};
use std::sync::Arc;

pub(super) fn apply(state: &State, spec: &StackSpec, expected_version: Option<u64>) -> Planned {
    let current = state.stack(&spec.name);
    let version = current.map_or(0, |stack| stack.version);
    if let Some(expected) = expected_version
        && expected != version
    {
        return Err(Rejected::Conflict(format!(
            "stack {} has changed since it was planned (version {version}, planned against {expected}): plan again",
            spec.name
        )));
    }
    let mut events = Vec::new();
    let mut next_id = state.next_id;
    for (short, wanted) in &spec.services {
        let name = ServiceName::new(&spec.name, short);
        match state.service_named(&name) {
            None => {
                events.push(Event::ServiceCreated {
                    id: ServiceId(next_id),
                    name,
                    spec: Arc::new(wanted.clone()),
                });
                next_id += 1;
            }
            Some(service) => events.extend(services::update(service, wanted)?),
        }
    }
    events.extend(
        state
            .services_of(&spec.name)
            .filter(|service| !spec.services.contains_key(&*service.name.service))
            .map(|service| Event::ServiceRemoving { id: service.id }),
    );
    let unchanged = current.is_some_and(|stack| stack.volumes == spec.volumes);
    if !events.is_empty() || !unchanged {
        events.insert(
            0,
            Event::StackUpdated { stack: spec.name.as_str().into(), volumes: spec.volumes.clone() },
        );
    }
    Ok(events)
}

pub(super) fn remove(state: &State, name: &str) -> Planned {
    let Some(stack) = state.stack(name) else {
        return Err(Rejected::NotFound(format!("there is no stack {name}")));
    };
    let mut events: Vec<Event> =
        state.services_of(name).map(|service| Event::ServiceRemoving { id: service.id }).collect();
    events.push(Event::StackRemoved { stack: stack.name.as_str().into() });
    Ok(events)
}
