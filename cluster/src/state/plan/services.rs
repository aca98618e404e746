//! Commands about services and their rollouts.

use super::{Planned, Rejected};
use crate::{
    event::{Event, NewRollout},
    ids::ServiceId,
    model::{Mode, Rollout, RolloutState, Service, ServiceName, ServiceSpec, TaskTemplate},
    state::State,
};
use std::{collections::BTreeSet, sync::Arc};

fn named<'a>(state: &'a State, name: &ServiceName) -> Result<&'a Arc<Service>, Rejected> {
    state.service_named(name).ok_or_else(|| Rejected::NotFound(format!("there is no service {name}")))
}

/// The event that gives `stacks` their next version.
fn touched(state: &State, stacks: impl IntoIterator<Item = Arc<str>>) -> Vec<Event> {
    let stacks: BTreeSet<Arc<str>> = stacks.into_iter().collect();
    stacks
        .into_iter()
        .filter_map(|name| {
            let volumes = state.stack(&name)?.volumes.clone();
            Some(Event::StackUpdated { stack: name, volumes })
        })
        .collect()
}

/// The version of `template` in `service`: an equal one that it had before, else the next number.
fn version_of(service: &Service, template: &TaskTemplate) -> u64 {
    let equal = service.templates.iter().rev().find(|(_, known)| *known.spec == *template);
    match equal {
        Some((version, _)) => *version,
        None => service.templates.keys().next_back().copied().unwrap_or(0) + 1,
    }
}

/// The events that make `service` what `wanted` says.
pub(super) fn update(service: &Service, wanted: &ServiceSpec) -> Result<Option<Event>, Rejected> {
    let mut wanted = wanted.clone();
    wanted.template.restarted = service.spec.template.restarted;
    if wanted == *service.spec {
        return Ok(None);
    }
    if wanted.mode.is_global() != service.spec.mode.is_global()
        || wanted.mode.is_job() != service.spec.mode.is_job()
    {
        return Err(Rejected::Precondition(format!(
            "service {} can't change its mode: remove it first (wharf rm service {})",
            service.name, service.name
        )));
    }
    let (template, rollout) = if wanted.template == service.spec.template {
        (service.template, None)
    } else {
        (version_of(service, &wanted.template), Some(NewRollout::Update))
    };
    Ok(Some(Event::ServiceUpdated { id: service.id, spec: Arc::new(wanted), template, rollout }))
}

pub(super) fn remove(state: &State, name: &ServiceName) -> Planned {
    let service = named(state, name)?;
    let mut events = touched(state, [name.stack.clone()]);
    events.push(Event::ServiceRemoving { id: service.id });
    Ok(events)
}

pub(super) fn scale(state: &State, replicas: &[(ServiceName, u32)]) -> Planned {
    let mut events = Vec::new();
    let mut stacks = Vec::new();
    for (name, number) in replicas {
        let service = named(state, name)?;
        let mode = match service.spec.mode {
            Mode::Replicated { .. } => Mode::Replicated { replicas: *number },
            Mode::ReplicatedJob { concurrent, .. } => {
                Mode::ReplicatedJob { completions: *number, concurrent }
            }
            Mode::Global | Mode::GlobalJob => {
                return Err(Rejected::Invalid(format!(
                    "service {name} is global: it has a task on every node that fits and can't be scaled"
                )));
            }
        };
        if mode != service.spec.mode {
            let spec = Arc::new(ServiceSpec { mode, ..(*service.spec).clone() });
            stacks.push(name.stack.clone());
            events.push(Event::ServiceUpdated {
                id: service.id,
                spec,
                template: service.template,
                rollout: None,
            });
        }
    }
    events.splice(0..0, touched(state, stacks));
    Ok(events)
}

pub(super) fn restart(state: &State, name: &ServiceName) -> Planned {
    let service = named(state, name)?;
    let mut spec = (*service.spec).clone();
    // Beyond every version that is known, so that the template is a new one also after an older one came back.
    let last = service.templates.values().map(|template| template.spec.restarted).max().unwrap_or(0);
    spec.template.restarted = last + 1;
    let template = version_of(service, &spec.template);
    let mut events = touched(state, [name.stack.clone()]);
    events.push(Event::ServiceUpdated {
        id: service.id,
        spec: Arc::new(spec),
        template,
        rollout: Some(NewRollout::Update),
    });
    Ok(events)
}

pub(super) fn undo(state: &State, name: &ServiceName, to: Option<u64>) -> Planned {
    let service = named(state, name)?;
    let previous = service.rollout.as_ref().map(|rollout| rollout.from);
    let older = service.templates.keys().rev().find(|version| **version < service.template).copied();
    let Some(to) = to.or(previous.filter(|from| *from != service.template)).or(older) else {
        return Err(Rejected::Precondition(format!("service {name} has no older version to go back to")));
    };
    if to == service.template {
        return Err(Rejected::Precondition(format!("service {name} is at version {to} already")));
    }
    let mut events = touched(state, [name.stack.clone()]);
    events.push(back_to(service, to).ok_or_else(|| {
        let known: Vec<String> = service.templates.keys().map(u64::to_string).collect();
        Rejected::NotFound(format!("service {name} has no version {to}; it has {}", known.join(", ")))
    })?);
    Ok(events)
}

/// The event that brings an older template back.
fn back_to(service: &Service, to: u64) -> Option<Event> {
    let template = service.templates.get(&to)?;
    let spec = ServiceSpec { template: (*template.spec).clone(), ..(*service.spec).clone() };
    let rollout = Some(NewRollout::Rollback);
    Some(Event::ServiceUpdated { id: service.id, spec: Arc::new(spec), template: to, rollout })
}

pub(super) fn set_rollout(
    state: &State,
    id: ServiceId,
    to: u64,
    next: RolloutState,
    message: &Arc<str>,
) -> Planned {
    let Some(service) = state.service(id) else { return Ok(Vec::new()) };
    let Some(rollout) = service.rollout.as_ref().filter(|rollout| rollout.to == to && rollout.state != next)
    else {
        return Ok(Vec::new());
    };
    if next == RolloutState::RollingBack {
        let mut events = Vec::new();
        if let Some(back) = back_to(service, rollout.from) {
            events.push(back);
            let rollout = Rollout {
                state: next,
                from: rollout.to,
                to: rollout.from,
                started: state.now(),
                since: state.now(),
                message: message.clone(),
            };
            events.push(Event::RolloutChanged { id, rollout });
        }
        return Ok(events);
    }
    let rollout = Rollout { state: next, since: state.now(), message: message.clone(), ..rollout.clone() };
    Ok(vec![Event::RolloutChanged { id, rollout }])
}

pub(super) fn forget(state: &State, id: ServiceId) -> Planned {
    let Some(service) = state.service(id) else { return Ok(Vec::new()) };
    if !service.removing {
        return Err(Rejected::Precondition(format!("service {} isn't being removed", service.name)));
    }
    if state.tasks_of(id).next().is_some() {
        return Err(Rejected::Precondition(format!("service {} still has tasks", service.name)));
    }
    Ok(vec![Event::ServiceRemoved { id }])
}
