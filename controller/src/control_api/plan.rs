//! What applying a stack would do.

use super::writes::spec;
use crate::{core::Core, propose::WriteError};
use std::collections::BTreeMap;
use tonic::Status;
use wharf_cluster::{
    model::{Mode, ServiceName, Slot, StackSpec},
    preview::{Action, Change, Difference, PlannedTask, Preview, preview},
    state::State,
};
use wharf_proto::v1::{PlanStackRequest, PlanStackResponse, PlannedChange, PlannedFailure, PlannedPlacement};

pub(super) async fn plan_stack(core: &Core, request: PlanStackRequest) -> Result<PlanStackResponse, Status> {
    let spec = spec(request.spec)?;
    let state = core.read().await?.state;
    let planned = tokio::task::spawn_blocking(move || {
        let planned = preview(&state, &spec)?;
        Ok(shown(&state, &spec, &planned))
    });
    let planned = planned.await.map_err(|error| Status::internal(format!("the plan failed: {error}")))?;
    planned.map_err(|rejected| WriteError::Rejected(rejected).into())
}

fn shown(state: &State, spec: &StackSpec, planned: &Preview) -> PlanStackResponse {
    let mut placed: BTreeMap<&ServiceName, u32> = BTreeMap::new();
    for task in &planned.placements {
        *placed.entry(&task.service).or_insert(0) += 1;
    }
    let placed = |service: &ServiceName| placed.get(service).copied().unwrap_or(0);
    PlanStackResponse {
        version: planned.version,
        changes: planned
            .changes
            .iter()
            .map(|change| PlannedChange {
                service: change.service.to_string(),
                action: action(change).to_owned(),
                differences: change.fields.iter().map(difference).collect(),
                tasks: match change.action {
                    Action::Remove => live_tasks(state, &change.service),
                    Action::Scale => {
                        let wanted = replicas(spec, &change.service).unwrap_or(0);
                        wanted.abs_diff(live_tasks(state, &change.service))
                    }
                    Action::Create | Action::Update => {
                        replicas(spec, &change.service).unwrap_or_else(|| placed(&change.service))
                    }
                    Action::Configure | Action::Unchanged => 0,
                },
            })
            .collect(),
        placements: planned.placements.iter().map(placement).collect(),
        unplaced: planned
            .unplaced
            .iter()
            .map(|(service, reason)| PlannedFailure {
                service: service.to_string(),
                tasks: replicas(spec, service).unwrap_or(0).saturating_sub(placed(service)),
                reason: reason.clone(),
            })
            .collect(),
    }
}

fn action(change: &Change) -> &'static str {
    match change.action {
        Action::Create => "create",
        // Its tasks stay; what differs says so.
        Action::Update | Action::Configure => "update",
        Action::Scale => "scale",
        Action::Remove => "remove",
        Action::Unchanged => "unchanged",
    }
}

fn difference(difference: &Difference) -> String {
    format!("{}: {} -> {}", difference.path, difference.from, difference.to)
}

fn placement(task: &PlannedTask) -> PlannedPlacement {
    let name = match task.slot {
        Slot::Replica(number) => format!("{}.{number}", task.service),
        Slot::Node(_) => format!("{}.{}", task.service, task.node_name),
    };
    PlannedPlacement { service: task.service.to_string(), task: name, node: task.node_name.clone() }
}

fn live_tasks(state: &State, name: &ServiceName) -> u32 {
    let Some(service) = state.service_named(name) else { return 0 };
    u32::try_from(state.tasks_of(service.id).filter(|task| task.is_wanted()).count()).unwrap_or(u32::MAX)
}

/// How many tasks are asked for, where that is a number.
fn replicas(spec: &StackSpec, name: &ServiceName) -> Option<u32> {
    match spec.services.get(&*name.service)?.mode {
        Mode::Replicated { replicas } => Some(replicas),
        Mode::ReplicatedJob { completions, concurrent } => Some(completions.min(concurrent)),
        Mode::Global | Mode::GlobalJob => None,
    }
}
