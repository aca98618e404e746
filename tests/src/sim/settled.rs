//! How every run must end once the faults have stopped: one leader, equal replicas, what runs is what should run, and
//! whatever doesn't run says why.

use super::world::World;
use std::collections::{BTreeMap, BTreeSet};
use wharf_cluster::{
    feasibility::{Candidate, eligible, fits},
    ids::{NodeId, TaskId},
    model::{Availability, Mode, NodeState, RestartCondition, RolloutState, Service, Slot, Task, TaskState},
    orchestrator::{Limits, Scope, reconcile},
    scheduler::schedule,
    state::State,
};

/// What is still missing.
type Settled = Result<(), String>;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Settled {
    if holds { Ok(()) } else { Err(what()) }
}

impl World {
    /// Whether everything is as it should be.
    ///
    /// # Errors
    /// What isn't.
    pub fn settled(&self) -> Settled {
        ensure(self.clients.iter().all(super::client::Client::is_idle), || "a client waits".to_owned())?;
        let leader = self.leader().ok_or("there is no leader")?;
        let state = self.replicas_agree(leader)?;
        let limits = Limits { orphan_after: self.options.orphan_after, ..Limits::default() };
        let now = self.stamp(leader).max(state.now());
        let plan = reconcile(&state, &Scope::All, now, &limits);
        let left = |what: &dyn std::fmt::Debug| format!("the leader has something to do: {what:?}");
        ensure(plan.commands.is_empty(), || left(&plan.commands))?;
        let soon = |wake: &wharf_cluster::ids::Timestamp| wake.since(now) < 3_600_000;
        ensure(!plan.wakes.iter().any(|(_, wake)| soon(wake)), || left(&plan.wakes))?;
        let placements = schedule(&state).commands();
        ensure(placements.is_empty(), || left(&placements))?;
        for service in state.services() {
            check_service(&state, service)?;
        }
        self.nodes_do_what_they_should(&state)
    }

    /// Every member has the leader's state, and members are those in the table.
    fn replicas_agree(&self, leader: usize) -> Result<State, String> {
        let process = self.controllers[leader].process.as_ref().ok_or("the leader is gone")?;
        let view = process.published.view();
        let acknowledged = self.checks.reference.last_acknowledged();
        ensure(view.index >= acknowledged, || format!("the leader is behind {acknowledged}"))?;
        let table: Vec<u64> = view.state.controllers().map(|controller| controller.id.0).collect();
        ensure(process.status.voters == table, || {
            format!("voters are {:?}, not {table:?}", process.status.voters)
        })?;
        for id in table {
            let member = self.host_of(id).and_then(|host| self.controllers[host].process.as_ref());
            let member = member.ok_or_else(|| format!("controller {id} doesn't run"))?;
            let theirs = member.published.view();
            ensure(theirs.index == view.index, || {
                format!("controller {id} is at {}, the leader at {}", theirs.index, view.index)
            })?;
            ensure(theirs.state == view.state, || format!("controller {id} has another state"))?;
        }
        Ok((*view.state).clone())
    }

    /// Machines run what they should, and nothing else.
    fn nodes_do_what_they_should(&self, state: &State) -> Settled {
        let mut known = 0;
        for (number, machine) in self.nodes.iter().enumerate() {
            let id = machine.id.ok_or_else(|| format!("machine {number} has not joined"))?;
            let node = state.node(id).ok_or_else(|| format!("node {id} is not known"))?;
            known += 1;
            ensure(node.status.state == NodeState::Ready, || format!("node {id} is {}", node.status.state))?;
            let runs: BTreeSet<TaskId> = machine.running().collect();
            let should: BTreeSet<TaskId> = state
                .load(id)
                .tasks
                .iter()
                .copied()
                .filter(|id| state.task(*id).is_some_and(|task| task.status.state >= TaskState::Starting))
                .collect();
            ensure(runs == should, || format!("node {id} runs {runs:?}, not {should:?}"))?;
        }
        // Those whose machines were emptied are gone, or known to be down.
        let others = state.nodes().filter(|node| node.status.state != NodeState::Down).count();
        ensure(others == known, || format!("{others} nodes answer, of {known}"))
    }
}

fn check_service(state: &State, service: &Service) -> Settled {
    let name = &service.name;
    ensure(!service.removing, || format!("{name} is still there"))?;
    let rolling = service.rollout.as_ref().is_some_and(|rollout| rollout.state.is_active());
    ensure(!rolling || !service.unplaced.is_empty(), || format!("{name} rolls: {:?}", service.rollout))?;
    let mut slots: BTreeMap<Slot, Vec<&Task>> = BTreeMap::new();
    for task in state.tasks_of(service.id) {
        slots.entry(task.slot).or_default().push(task);
        let lost = task
            .node
            .and_then(|node| state.node(node))
            .is_some_and(|node| node.status.state == NodeState::Down);
        ensure(task.is_final() || task.is_wanted() || lost, || {
            format!("{name}: task {} never stops", task.id)
        })?;
    }
    for (slot, tasks) in &slots {
        let ended = tasks.iter().filter(|task| task.is_final()).count();
        ensure(ended <= Limits::default().history, || format!("{name}.{slot} remembers {ended} tasks"))?;
        for task in tasks.iter().filter(|task| task.is_wanted()) {
            check_task(state, service, task)?;
        }
    }
    check_mode(state, service, &slots)
}

fn check_task(state: &State, service: &Service, task: &Task) -> Settled {
    let id = task.id;
    let template = state.template_of(task).ok_or_else(|| format!("task {id} has no template"))?;
    let Some(node) = task.node else {
        return ensure(service.unplaced.contains_key(&task.template), || {
            format!("task {id} waits without reason")
        });
    };
    let node = state.node(node).ok_or_else(|| format!("task {id} is on a node that isn't there"))?;
    let candidate = Candidate { template, service: service.id, slot: task.slot };
    ensure(fits(candidate, node) == Ok(()), || format!("task {id} doesn't fit its node"))?;
    ensure(node.availability != Availability::Drained, || format!("task {id} is on a drained node"))?;
    ensure(task.status.state == TaskState::Running, || format!("task {id} is {}", task.status.state))
}

fn check_mode(state: &State, service: &Service, slots: &BTreeMap<Slot, Vec<&Task>>) -> Settled {
    let name = &service.name;
    let filled = |tasks: &[&Task]| tasks.iter().any(|task| task.is_wanted()) || may_rest(service, tasks);
    match service.spec.mode {
        Mode::Replicated { replicas } => {
            ensure(slots.len() == replicas as usize, || format!("{name} has {} slots", slots.len()))?;
            let empty = slots.iter().find(|(_, tasks)| !filled(tasks));
            ensure(empty.is_none(), || format!("{name}.{:?} is empty", empty.map(|(slot, _)| slot)))?;
            updated_or_explained(service, slots)
        }
        Mode::Global => takers(state, service).into_iter().try_for_each(|id| {
            let tasks = slots.get(&Slot::Node(id)).map_or(&[][..], Vec::as_slice);
            ensure(filled(tasks), || format!("{name} has no task on node {id}"))
        }),
        Mode::ReplicatedJob { completions, .. } => (1..=completions).try_for_each(|number| {
            let tasks = slots.get(&Slot::Replica(number)).map_or(&[][..], Vec::as_slice);
            // Those that wait for room hold up the others.
            let waits = !service.unplaced.is_empty();
            ensure(waits || has_completed(tasks) || may_rest(service, tasks), || {
                format!("{name}.{number} is not done")
            })
        }),
        Mode::GlobalJob => takers(state, service).into_iter().try_for_each(|id| {
            let tasks = slots.get(&Slot::Node(id)).map_or(&[][..], Vec::as_slice);
            let waits = tasks.iter().any(|task| task.is_wanted() && task.node.is_none());
            ensure(waits || has_completed(tasks) || may_rest(service, tasks), || {
                format!("{name} is not done on {id}")
            })
        }),
    }
}

fn takers(state: &State, service: &Service) -> Vec<NodeId> {
    let Some(template) = service.templates.get(&service.template) else { return Vec::new() };
    let takes = |id: NodeId, node| {
        let candidate = Candidate { template: &template.spec, service: service.id, slot: Slot::Node(id) };
        eligible(candidate, node).is_ok()
    };
    state.nodes().filter(|node| takes(node.id, node)).map(|node| node.id).collect()
}

fn has_completed(tasks: &[&Task]) -> bool {
    tasks.iter().any(|task| task.status.state == TaskState::Complete)
}

/// Whether the restart policy lets a slot go without a task.
fn may_rest(service: &Service, tasks: &[&Task]) -> bool {
    let ends = |task: &&Task| {
        let policy = service.templates.get(&task.template).map(|template| &template.spec.restart);
        task.status.state.is_final()
            && policy.is_some_and(|policy| {
                policy.condition != RestartCondition::Any || policy.max_attempts.is_some()
            })
    };
    tasks.iter().any(ends)
}

/// Every slot runs the new template, unless the rollout was stopped or can't go on.
fn updated_or_explained(service: &Service, slots: &BTreeMap<Slot, Vec<&Task>>) -> Settled {
    let through = service
        .rollout
        .as_ref()
        .is_none_or(|rollout| matches!(rollout.state, RolloutState::Completed | RolloutState::RolledBack));
    for tasks in slots.values() {
        let wanted: Vec<&&Task> = tasks.iter().filter(|task| task.is_wanted()).collect();
        let old = wanted.iter().filter(|task| task.template != service.template).count();
        // Started first, an old one goes on where new ones failed as often as they may.
        let gave_up = tasks
            .iter()
            .any(|task| task.template == service.template && task.is_final() && may_rest(service, tasks));
        ensure(!through || old == 0 || gave_up, || format!("{} has old tasks", service.name))?;
        ensure(!through || wanted.len() <= 1, || {
            format!("{} has {} tasks in a slot", service.name, wanted.len())
        })?;
    }
    Ok(())
}
