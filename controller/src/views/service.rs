//! Services, and how many of their tasks do what they should.

use std::collections::{BTreeMap, BTreeSet};
use wharf_cluster::{
    feasibility::{Candidate, eligible},
    model::{self, Mode, Slot, TaskState},
    state::State,
};
use wharf_proto::v1;

/// How many of a service's tasks do what they should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Running, and wanted.
    pub running: u32,
    /// Wanted; for a job, completions wanted.
    pub desired: u32,
    /// A job's slots that have completed.
    pub completed: u32,
    /// Running tasks of the current template.
    pub up_to_date: u32,
    /// Running tasks by template version.
    pub by_template: BTreeMap<u64, u32>,
}

/// Counts a service's tasks.
#[must_use]
pub(super) fn tally(state: &State, service: &model::Service) -> Tally {
    let mut tally = Tally::default();
    let mut completed: BTreeSet<Slot> = BTreeSet::new();
    for task in state.tasks_of(service.id) {
        if task.status.state == TaskState::Complete && task.template == service.template {
            completed.insert(task.slot);
        }
        if task.status.state == TaskState::Running && task.is_wanted() {
            tally.running += 1;
            *tally.by_template.entry(task.template).or_insert(0) += 1;
            tally.up_to_date += u32::from(task.template == service.template);
        }
    }
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    if service.spec.mode.is_job() {
        tally.completed = count(completed.len());
    }
    tally.desired = match service.spec.mode {
        _ if service.removing => 0,
        Mode::Replicated { replicas } => replicas,
        Mode::ReplicatedJob { completions, .. } => completions,
        Mode::Global => count(eligible_slots(state, service).count()),
        Mode::GlobalJob => {
            count(eligible_slots(state, service).chain(completed).collect::<BTreeSet<_>>().len())
        }
    };
    tally
}

/// A global service's places: nodes that may run its tasks.
fn eligible_slots<'a>(state: &'a State, service: &'a model::Service) -> impl Iterator<Item = Slot> + 'a {
    state.nodes().filter_map(move |node| {
        let slot = Slot::Node(node.id);
        let candidate = Candidate { template: &service.spec.template, service: service.id, slot };
        eligible(candidate, node).is_ok().then_some(slot)
    })
}

/// A service, with its counts.
#[must_use]
pub fn service(state: &State, service: &model::Service) -> v1::Service {
    let tally = tally(state, service);
    let versions = service.templates.iter().map(|(version, template)| v1::TemplateVersion {
        version: *version,
        created: template.created.0,
        template: Some((&*template.spec).into()),
        running: tally.by_template.get(version).copied().unwrap_or(0),
    });
    v1::Service {
        id: service.id.to_string(),
        stack: service.name.stack.to_string(),
        name: service.name.to_string(),
        version: service.version,
        spec: Some((&*service.spec).into()),
        template: service.template,
        history: versions.collect(),
        rollout: service.rollout.as_ref().map(rollout),
        unplaced: service.unplaced.iter().map(|(version, why)| (*version, why.to_string())).collect(),
        removing: service.removing,
        created: service.created.0,
        updated: service.updated.0,
        mode: mode(service.spec.mode).to_owned(),
        running: tally.running,
        desired: tally.desired,
        completed: tally.completed,
        up_to_date: tally.up_to_date,
    }
}

fn rollout(rollout: &model::Rollout) -> v1::Rollout {
    v1::Rollout {
        state: rollout.state.to_string(),
        from: rollout.from,
        to: rollout.to,
        started: rollout.started.0,
        since: rollout.since.0,
        message: rollout.message.to_string(),
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Replicated { .. } => "replicated",
        Mode::Global => "global",
        Mode::ReplicatedJob { .. } => "replicated-job",
        Mode::GlobalJob => "global-job",
    }
}
